"""The report: one page that stands alone, says what is so, and runs nothing that others wrote into a manifest."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest

import gptex
from gptex import Component, DatasetError, GptexError, Recipe
from gptex.show import report

AWKWARD = '<script>alert(1)</script> & "x" | `c` \' <img src=x onerror=alert(1)>'
VOID = {"meta", "img", "br", "link"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FINE = Component(name=AWKWARD, length_scales=[2, 2.3])
COARSE = Component(name="coarse", length_scales=[6, 7], weight=1.5, boundary="open")


class Page(HTMLParser):
    """A page as a parser sees it: tags, texts and images, and whether all that is opened is closed."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.open, self.texts = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    def images(self, kind):
        """Pictures of a kind, decoded."""
        start = f"data:image/{kind};base64,"
        return [
            base64.b64decode(value.removeprefix(start)) for name, value in self.attributes if value and value.startswith(start)
        ]


def recipe(**changes):
    components, splits = [FINE, COARSE], {"train": 4, "test-set": 2}
    return Recipe(**{"name": AWKWARD, "shape": [32, 48], "components": components, "splits": splits, **changes})


def generated(folder, **changes):
    gptex.generate(recipe(**changes), folder, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return generated(tmp_path_factory.mktemp("datasets") / "größe ℓ")


@pytest.fixture(scope="module")
def page(folder):
    """The path of its report."""
    return report(folder, folder.parent / "report.html", progress=False)


def test_the_page_stands_alone(page):
    found = Page(page)
    assert not {"script", "link", "iframe", "object", "form"} & set(found.tags)
    assert not [value for name, value in found.attributes if name in ("src", "href") and not value.startswith("data:")]
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    text = page.read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in re.sub(r"base64,[^\"]*", "", text).replace("http-equiv", "")


def test_names_of_others_are_text(page):
    found = Page(page)
    assert found.texts.count(AWKWARD) >= 3  # the title, the head line, the recipe
    assert found.tags.count("img") == 2 + 2 * 4


def test_it_says_what_the_dataset_is(page, folder):
    text = Page(page).text
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert "24 Gaussian-process textures of 32 × 48 pixels (float32) in 4 classes" in text
    assert "weighted sum of independent Gaussian random fields" in text
    assert "the classes are balanced" in text
    for words in ["Seed", "seed", manifest["recipe_sha256"], *manifest["classes"], *manifest["versions"].values(), "Backdrop"]:
        assert words in text or words == "Seed"
    for shard in manifest["shards"]:
        assert shard["sha256"] in text
        assert shard["file"] in text


def test_the_verdict_is_that_of_the_certificate(page, folder):
    certificate, text = gptex.certify(folder, progress=False), Page(page).text
    assert certificate.passed
    assert f"Passed : {len(certificate.tests)} tests" in text
    for each in certificate.classes:
        assert f"Class {each.name}" in text
        for _, found, error, _ in each.length_scales:
            assert f"{found:.4g} ± {error:.1g}" in text  # no error here is above 10


def test_pictures_are_whole(page):
    found = Page(page)
    (montage,) = found.images("png")
    assert montage.startswith(b"\x89PNG")
    charts = found.images("svg+xml")
    assert len(charts) == 1 + 2 * 4
    assert all(chart.rstrip().endswith(b"</svg>") for chart in charts)
    assert all(value for name, value in found.attributes if name == "alt")


def test_the_same_dataset_has_the_same_page(page, folder, tmp_path):
    again = report(folder, tmp_path / "again.html", progress=False)
    assert again.read_bytes() == page.read_bytes()


def test_a_wrong_dataset_fails_and_says_at_what(folder, tmp_path):
    wrong = shutil.copytree(folder, tmp_path / "wrong")
    path = wrong / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    other = recipe(components=[FINE.model_copy(update={"weight": 1.3}), COARSE])
    path.write_text(json.dumps({**manifest, **of(other)}), encoding="utf-8")
    text = Page(report(wrong, tmp_path / "page.html", progress=False)).text
    assert "Failed :" in text
    assert "radians a pixel against theory" in text


def test_values_that_are_no_numbers_fail_and_are_drawn(folder, tmp_path):
    wrong = shutil.copytree(folder, tmp_path / "wrong")
    (path,) = (wrong / "train").glob("*.h5")
    with h5py.File(path, "r+") as shard:
        shard["images"][0, 3:9, 5] = np.nan
        shard["images"][1, 2, 2] = np.inf
        shard["images"][2] = 0.25
        shard["images"][3] = shard["images"][7]
    found = Page(report(wrong, tmp_path / "page.html", progress=False))
    assert "texture 0 of split train has values that are not finite" in found.text
    assert "texture 1 of split train has values that are not finite" in found.text
    assert "texture 2 of split train is constant" in found.text
    assert "texture 7 of split train is texture 3 of split train again" in found.text
    assert found.images("png")[0].startswith(b"\x89PNG")


def of(changed):
    """What a manifest says of a recipe."""
    from gptex.store.manifest import Manifest

    return {key: value for key, value in Manifest.of(changed, []).model_dump(mode="json").items() if "recipe" in key}


def test_without_statistics_it_says_so(folder, tmp_path):
    text = Page(report(folder, tmp_path / "page.html", stats=False)).text
    assert "No statistics : they were left out" in text
    assert "Class 2-6" not in text


def test_a_limit_is_kept(folder, tmp_path):
    assert "8 textures, none failed" in Page(report(folder, tmp_path / "page.html", limit=2, progress=False)).text


@pytest.fixture
def combined(tmp_path):
    """Textures from elsewhere, not as many of each class."""
    samples = recipe(components=[Component(name="only", length_scales=[2, 3])], splits={"train": 5})
    gptex.generate(samples, tmp_path / "samples", workers=1, progress=False)
    gptex.combine(tmp_path / "samples", tmp_path / "out", scales=[[2, 3]], name=AWKWARD, progress=False)
    return tmp_path / "out"


def test_textures_from_elsewhere_have_a_page_with_and_without_theory(combined, tmp_path):
    found = Page(report(combined, tmp_path / "page.html"))
    assert "no theory to compare these textures with" in found.text
    assert found.tags.count("img") == 2
    named = recipe(name="what they should be", components=[Component(name="only", length_scales=[2, 3])], splits={})
    found = Page(report(combined, tmp_path / "page.html", against=named.replace(noise_std=1e-3), progress=False))
    assert "compared with the recipe “what they should be”" in found.text
    with pytest.raises(GptexError, match="nothing to compare"):
        report(combined, tmp_path / "other.html", against=recipe(), progress=False)
    assert not (tmp_path / "other.html").exists()


def test_of_many_classes_some_are_shown_and_the_size_is_bounded(tmp_path):
    scales = [Component(name="f", length_scales=np.linspace(2, 3, 25).tolist())]
    many = generated(tmp_path / "many", shape=[24, 24], components=scales, splits={"train": 1})
    path = report(many, tmp_path / "page.html", progress=False)
    found = Page(path)
    assert "16 of 25 classes" in found.text
    assert found.tags.count("img") == 2 + 2 * 16
    assert path.stat().st_size < 3e6


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [60], "components": [FINE]},
        {"shape": [8, 10, 12], "components": [FINE]},
        {"noise_std": 0.5, "splits": {"only": 3}},
        {"dtype": "float16", "standardize": True, "components": [COARSE]},
    ],
    ids=["line", "volume", "noise", "half"],
)
def test_other_kinds_of_data_have_a_page(changes, tmp_path):
    page = Page(report(generated(tmp_path / "out", **changes), tmp_path / "page.html", progress=False))
    assert "Passed" in page.text
    assert " × ".join(map(str, recipe(**changes).shape)) in page.text


def test_what_cannot_be_reported_is_one_line(folder, tmp_path):
    with pytest.raises(DatasetError, match="manifest"):
        report(tmp_path, tmp_path / "page.html")
    with pytest.raises(DatasetError, match="nowhere"):
        report(folder, tmp_path / "nowhere" / "page.html", stats=False)


# -- as a browser shows it


@pytest.fixture
def browse(tmp_path, page):
    """Runs a headless browser on the page, seen through a frame of some width, with more options."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium")

    def run(*options, width=None):
        address = page
        if width:
            address = tmp_path / "frame.html"
            address.write_text(MEASURE % (page.as_uri(), width), encoding="utf-8")
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--allow-file-access-from-files", "--virtual-time-budget=5000", *options, address.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    return run


MEASURE = """<body><iframe id=page src="%s" style="border:0;width:%dpx;height:900px"></iframe><script>
onload = () => { const seen = document.getElementById("page").contentDocument
  document.title = JSON.stringify({width: seen.documentElement.scrollWidth, text: seen.body.innerText.length,
    pictures: [...seen.images].map(image => image.naturalWidth > 0 && image.getBoundingClientRect().right)}) }
</script>"""


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_a_browser_shows_all_of_it_at_any_width(browse, width):
    shown = re.search(r"<title>({.*?})</title>", browse("--dump-dom", width=width))
    measured = json.loads(shown[1].replace("&quot;", '"'))
    assert measured["width"] <= width  # nothing to be pushed aside but within tables
    assert len(measured["pictures"]) == 10
    assert all(0 < right <= width for right in measured["pictures"])
    assert measured["text"] > 1000


def test_it_prints(browse, tmp_path):
    browse(f"--print-to-pdf={tmp_path / 'page.pdf'}")
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8
