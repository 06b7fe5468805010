"""The report on a dataset: one page of HTML that needs neither network nor scripts.

Names and facts may come from other people's manifests: all text is escaped where it is put into the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from gptex.catalog import presets
from gptex.errors import GptexError
from gptex.pictures import new_figure
from gptex.recipe import Recipe
from gptex.show import charts
from gptex.show.plots import preview
from gptex.show.textures import some
from gptex.store.card import Table, citations, classes_table, components_table, composed, licence, splits_table, summary
from gptex.store.files import write_text
from gptex.store.manifest import Manifest
from gptex.store.progress import counted, human_bytes
from gptex.store.source import printable

if TYPE_CHECKING:
    from gptex.trust.certificate import Certificate, Check, ClassReport

MOST_ROWS = 200  # of a table
WORST = 20  # tests that are named
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # whatever gets into the page loads and runs nothing
NO_THEORY = "there is no theory to compare these textures with: they come from elsewhere, and no recipe was named"


def report(
    path: str | Path,
    output: str | Path,
    *,
    against: Recipe | str | Path | None = None,
    limit: int | None = None,
    stats: bool = True,
    progress: bool = True,
) -> Path:
    """Write a page on a dataset: what it is, what it looks like, and its statistics against theory.

    It is one file without scripts, to be opened in a browser, printed or sent. Hashes are those of the manifest, which
    `gptex.verify` checks.

    Parameters
    ----------
    path : path
        The dataset's folder.
    output : path
        The page to write, such as report.html.
    against : Recipe, str or path, optional
        What textures from elsewhere should be, as of `gptex.certify`. Without it, and without a preset of their name,
        their page has no statistics.
    limit : int, optional
        Largest number of textures of a class to look at.
    stats : bool
        Whether to look at the statistics, which takes the longest.
    progress : bool
        Show how far it is.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    DatasetError
        If there is no dataset, a shard cannot be read, or the page cannot be written.
    GptexError
        If `against` is nothing to compare with, or `limit` is below 1.
    """
    new_figure()  # what is missing or wrong is said before the work
    if Path(output).suffix not in (".html", ".htm"):
        raise GptexError(f"a report is a page whose name ends in .html, not {str(output)!r}")
    manifest = Manifest.read(path)
    recipe, certificate = None, None
    if against is not None or manifest.recipe or manifest.contents.name in presets():
        from gptex.trust.examine import certify, theory_of

        recipe = theory_of(manifest, against)
        certificate = certify(path, against=recipe, limit=limit, progress=progress) if stats else None
    write_text(Path(output), "".join(_page(path, manifest, recipe, certificate, stats)))
    return Path(output)


def _page(
    path: str | Path, manifest: Manifest, recipe: Recipe | None, certificate: Certificate | None, stats: bool
) -> Iterable[str]:
    name = escape(manifest.contents.name)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    yield f"<title>{name}</title>\n<style>\n{(files('gptex.show') / 'page.css').read_text(encoding='utf-8')}</style>\n</head>\n"
    yield f"<body>\n<header>\n<h1>{name}</h1>\n{_prose(summary(manifest))}{_verdict(certificate, stats)}</header>\n<main>\n"
    yield "<h2>What it looks like</h2>\n"
    shown = f"{len(some(len(manifest.classes)))} of {counted(len(manifest.classes), 'class')}, a row each"
    yield _figure(charts.inline(preview(path), "png"), f"Examples of split {next(iter(manifest.splits))}: {shown}.", "montage")
    yield from _what(manifest)
    yield from _classes(manifest)
    yield from _pixels(path, manifest, recipe)
    if certificate and recipe:
        yield "<h2>Statistics against theory</h2>\n"
        if manifest.source:
            yield _prose(f"The textures are compared with the recipe “{recipe.name}”.")
        yield from _statistics(certificate)
    yield from _files(manifest)
    yield from _citation(manifest)
    yield f"</main>\n<footer>Written by gptex {escape(version('gptex'))}.</footer>\n</body>\n</html>\n"


# -- sections


def _verdict(certificate: Certificate | None, stats: bool) -> str:
    if certificate is None:
        return f'<div class="verdict"><strong>No statistics</strong>: {NO_THEORY if stats else "they were left out"}.</div>\n'
    passed, words = certificate.passed, "of the pixels against theory"
    facts = f"{counted(len(certificate.tests), 'test')} {words}, {counted(certificate.textures, 'texture')}"
    found = "none failed" if passed else f"{len(certificate.failures)} failed"
    rate = f"a right dataset fails once in {1 / certificate.false_alarm:,.0f}"
    badge = f"<strong>{'Passed' if passed else 'Failed'}</strong>: {facts}, {found}; {rate}."
    return f'<div class="verdict {"passed" if passed else "failed"}">{badge}</div>\n'


def _what(manifest: Manifest) -> Iterable[str]:
    contents = manifest.contents
    if not isinstance(contents, Recipe):
        yield f"<h2>Where it comes from</h2>\n{_facts(contents.facts().items())}"
        return
    yield f"<h2>Recipe</h2>\n{_prose(composed(contents) + ':')}{_table(components_table(manifest, contents))}"
    yield _facts([("name", contents.name), ("seed", str(contents.seed)), ("recipe's SHA-256", manifest.recipe_sha256 or "")])


def _classes(manifest: Manifest) -> Iterable[str]:
    counts = [split.per_class for split in manifest.splits.values()]
    head, *rows = classes_table(manifest)
    balance = [tuple(str(each[n] if isinstance(each, tuple) else each) for each in counts) for n in range(len(rows))]
    even = all(isinstance(each, int) or len(set(each)) == 1 for each in counts)
    yield f"<h2>Splits and classes</h2>\n{_table([row[:2] + row[3:] for row in splits_table(manifest)])}"
    yield _prose(f"Textures of each class, by split; the classes are {'balanced' if even else 'not balanced'}:")
    yield _table([(*head, *manifest.splits), *((*row, *each) for row, each in zip(rows, balance, strict=True))])


def _pixels(path: str | Path, manifest: Manifest, recipe: Recipe | None) -> Iterable[str]:
    figure, count, sigma = charts.histogram(path, manifest, recipe)
    whose = "that the recipe's fields and noise have" if recipe else "that was measured"
    normal = f"the line is a normal density of mean 0 and the standard deviation {whose}, {sigma:.4g}"
    caption = f"Pixels of {counted(count, 'texture')}; {normal}."
    yield f"<h2>Pixels</h2>\n{_figure(charts.inline(figure, 'svg'), caption)}"


def _statistics(certificate: Certificate) -> Iterable[str]:
    yield _prose(f"A test fails if its p is below {certificate.level:.2g}.")
    rows: Table = [("kind of test", "tests", "failed", "smallest p")]
    for kind in dict.fromkeys(test.kind for test in certificate.tests):
        found = [test.p for test in certificate.tests if test.kind == kind]
        rows.append((kind, str(len(found)), str(sum(p < certificate.level for p in found)), f"{min(found):.2g}"))
    yield _table(rows)
    if certificate.failures:
        yield "<h3>Failed</h3>\n" + _tests(certificate.failures[:WORST])
        if len(certificate.failures) > WORST:
            yield _prose(f"… and {len(certificate.failures) - WORST} more.")
    worst = sorted(certificate.tests, key=lambda test: test.p)[:WORST]
    yield _folded(f"The {len(worst)} tests with the smallest p", _tests(worst))
    if not certificate.classes:
        return
    yield "<h3>Length scales found</h3>\n"
    yield _prose("± is one standard deviation; the last column is the deviation that 99 of 100 such datasets would show.")
    yield _table([("class", "label", "found", "smallest deviation shown"), *_scales(certificate.classes)])
    shown = [certificate.classes[n] for n in some(len(certificate.classes))]
    yield _prose(
        "Below, points are measured, lines join what theory says there, and the shaded bands hold 95 of 100 values of a "
        "right dataset. The lower part of each chart shows the difference."
    )
    if len(shown) < len(certificate.classes):
        yield _prose(f"{len(shown)} of {len(certificate.classes)} classes are shown.")
    for each in shown:
        (mean, of_mean), (variance, of_variance) = each.mean, each.variance
        moments = f"mean {mean:.3g} ± {_digit(of_mean)}, variance {variance:.3g} ± {_digit(of_variance)}"
        yield f"<h3>Class {escape(each.name)}</h3>\n" + _prose(f"{counted(each.textures, 'texture')}, {moments}.")
        power = _figure(charts.inline(charts.spectrum(each.spectrum), "svg"), f"Power spectrum of class {each.name}")
        lags = _figure(charts.inline(charts.autocovariance(each.autocovariance), "svg"), f"Autocovariance of class {each.name}")
        yield f'<div class="pair">\n{power}{lags}</div>\n'


def _tests(tests: Iterable[Check]) -> str:
    rows: Table = [("kind", "of what", "measured", "expected", "error", "p")]
    for test in tests:
        numbers = (test.measured, test.expected, test.error, test.p)
        rows.append((test.kind, test.what, *("" if math.isnan(x) else f"{x:.4g}" for x in numbers)))
    return f'<div class="tests">{_table(rows)}</div>\n'


def _scales(classes: Iterable[ClassReport]) -> Iterable[tuple[str, ...]]:
    for each in classes:
        for label, found, error, smallest in each.length_scales:
            yield each.name, f"{label:.6g}", f"{found:.4g} ± {_digit(error)}", _digit(smallest)


def _digit(error: float) -> str:
    """An error to its first digit, 20 rather than 2e+01."""
    return f"{float(f'{error:.1g}'):g}"


def _files(manifest: Manifest) -> Iterable[str]:
    rows: Table = [("shard", "textures", "bytes", "SHA-256")]
    for shard in manifest.shards:
        which = f"{shard.first} to {shard.first + shard.count - 1}"
        rows.append((shard.file, which, str(shard.bytes), shard.sha256))
    yield "<h2>Files</h2>\n"
    yield _prose("These hashes are the manifest's; `gptex verify` checks the files against them.")
    yield _folded(f"{counted(len(manifest.shards), 'shard')}, {human_bytes(manifest.bytes)}", _table(rows))
    yield _facts((name, number) for name, number in manifest.versions.items())


def _citation(manifest: Manifest) -> Iterable[str]:
    _, text = licence(manifest)
    yield f"<h2>Citation and licence</h2>\n<ul>\n{''.join(f'<li>{escape(each)}</li>' for each in citations(manifest))}</ul>\n"
    yield _prose(f"Licence: {text}")


# -- HTML


def _prose(text: str) -> str:
    return "<p>" + re.sub("`([^`]*)`", r"<code>\1</code>", escape(text)) + "</p>\n"


def _figure(address: str, caption: str, kind: str = "chart") -> str:
    image = f'<img src="{address}" alt="{escape(caption)}">'
    return f'<figure class="{kind}">{image}<figcaption>{escape(caption)}</figcaption></figure>\n'


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    lines = (f"<dt>{escape(printable(name))}</dt><dd>{escape(printable(text))}</dd>" for name, text in facts)
    return f"<dl>{''.join(lines)}</dl>\n"


def _table(table: Table) -> str:
    head, *rows = table
    hashes = [name == "SHA-256" for name in head]
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows[:MOST_ROWS]:
        cells = zip(row, hashes, strict=True)
        lines.append("<tr>" + "".join(f"<td{' class=hash' * is_hash}>{escape(cell)}</td>" for cell, is_hash in cells) + "</tr>")
    more = f'<p class="note">… and {len(rows) - MOST_ROWS} more.</p>\n' if len(rows) > MOST_ROWS else ""
    return '<div class="wide"><table>\n' + "\n".join(lines) + f"\n</table></div>\n{more}"


def _folded(title: str, table: str) -> str:
    return f"<details><summary>{escape(title)}</summary>\n{table}</details>\n"
