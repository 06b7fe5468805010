"""Options that make a recipe, shared by `generate` and `plan`, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gptex.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])

LONG_NAME = 100  # letters
UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """Numbers with commas between them."""

    name = "NUMBERS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """A list of floats."""
        if isinstance(value, list):
            return value
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 9.5,10", param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """The size of a grid: 512 (square), 256x512 or 64x64x64."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Pixels of each axis."""
        if isinstance(value, list):
            return value
        if not re.fullmatch(r"\d{1,20}(x\d{1,20}){0,2}", value):
            self.fail(f"{value!r} is not a size such as 512, 256x512 or 64x64x64", param, ctx)
        sizes = [int(part) for part in value.split("x")]
        return sizes * 2 if len(sizes) == 1 else sizes


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A number of bytes, with a unit such as MB or MiB."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A number of bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(\w*)", value)
        if not match or match[2] not in UNITS or float(match[1]) * UNITS[match[2]] < 1:
            self.fail(f"{value!r} is not a size such as 64MB or 256MiB", param, ctx)
        return int(float(match[1]) * UNITS[match[2]])


class SplitCount(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A split and its textures per class: train=25."""

    name = "NAME=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Name and count."""
        if isinstance(value, tuple):
            return value
        split, equals, count = value.partition("=")
        if not equals or not re.fullmatch(r"\d{1,20}", count):
            self.fail(f"{value!r} is not a split and a number of textures per class, such as train=25", param, ctx)
        return split, int(count)


RECIPE_OPTIONS: list[Any] = [
    click.option("--preset", metavar="NAME", help="A recipe that comes with gptex, see `gptex presets`."),
    click.option("--recipe", "recipe_file", metavar="FILE", type=click.Path(path_type=Path), help="A recipe in TOML."),
    click.option("--size", type=Size(), help="Or a new recipe: 512 (square), 256x512 or 64x64x64 pixels …"),
    click.option("--scales", type=Numbers(), multiple=True, help="… and the length scales of each component: 9.5,10."),
    click.option("--weights", type=Numbers(), help="Weight of each component: 0.75,1.25.  [default: 1]"),
    click.option(
        "--kernel", multiple=True, metavar="NAME", help="For all components, or one each.  [default: squared-exponential]"
    ),
    click.option("--nu", type=float, help="Smoothness of matern.  [default: 1.5]"),
    click.option("--alpha", type=float, help="Of rational-quadratic, > 1 if periodic in 2-D.  [default: 1]"),
    click.option("--boundary", multiple=True, metavar="periodic|open", help="For all, or one each.  [default: periodic]"),
    click.option("--name", help="Of the dataset."),
    click.option("--standardize/--no-standardize", default=None, help="Each component to mean 0 and std 1 before weighting."),
    click.option("--noise-std", type=float, help="Standard deviation of white noise to add."),
    click.option("--per-class", type=int, metavar="N", help="Textures per class, in split train."),
    click.option("--split", "splits", type=SplitCount(), multiple=True, help="Textures per class of a split: train=25."),
    click.option("--seed", type=int, help="From 0 to 2**128 - 1."),
    click.option("--dtype", metavar="TYPE", help="float32, float16 or float64."),
]


def add(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    """A decorator that adds options, the first of them first in the help."""
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(options), function)


def recipe_from(**options: Any) -> Recipe:
    """The recipe that the options ask for."""
    ways = [name for name, key in (("--preset", "preset"), ("--recipe", "recipe_file"), ("--size", "size")) if options[key]]
    if len(ways) != 1:
        given = f", not {' and '.join(ways)}" if ways else ""
        raise click.UsageError(f"say what to make with one of --preset, --recipe, or --size with --scales{given}")
    for key in ("scales", "weights", "kernel", "nu", "alpha", "boundary"):
        if options[key] not in (None, ()) and not options["size"]:
            raise click.UsageError(f"--{key} makes a new recipe with --size; {ways[0]} has its own")
    if options["per_class"] is not None and options["splits"]:
        raise click.UsageError("--per-class and --split both say how many: use one of them")
    names = [name for name, _ in options["splits"]]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"--split {name} is given twice")
    changes = {key: options[key] for key in ("name", "seed", "dtype", "standardize", "noise_std") if options[key] is not None}
    if options["splits"]:
        changes["splits"] = dict(options["splits"])
    elif options["per_class"] is not None:
        changes["splits"] = {"train": options["per_class"]}
    if options["size"]:
        return _new_recipe(options, changes)
    recipe = _known_recipe(options["preset"], options["recipe_file"])
    return recipe.replace(**changes) if changes else recipe


def _known_recipe(name: str | None, file: Path | None) -> Recipe:
    from gptex.catalog import preset
    from gptex.recipe import Recipe

    return Recipe.read(file) if file else preset(str(name))


def _new_recipe(options: dict[str, Any], changes: dict[str, Any]) -> Recipe:
    """A recipe of the components that the options name, and with `changes` in place of the defaults."""
    scales = options["scales"]
    if not scales:
        raise click.UsageError("--size needs --scales, once for each component")

    def each(option: str, values: Any, default: Any) -> list[Any]:
        if len(values) not in (0, 1, len(scales)):
            raise click.UsageError(f"{option} has {len(values)} values for {len(scales)} components")
        return list(values) * len(scales) if len(values) == 1 else list(values) or [default] * len(scales)

    kernels = each("--kernel", options["kernel"], "squared-exponential")
    for option, kernel in (("nu", "matern"), ("alpha", "rational-quadratic")):
        if options[option] is not None and kernel not in kernels:
            raise click.UsageError(f"--{option} goes with --kernel {kernel}")
    weights = each("--weights", options["weights"] or [], 1.0)
    boundaries = each("--boundary", options["boundary"], "periodic")
    from gptex.recipe import Component, Recipe  # after what is wrong without it, which is then told at once

    components = [
        Component(
            name=f"component-{number}",
            length_scales=length_scales,
            weight=weight,
            kernel=kernel,
            boundary=boundary,
            nu=options["nu"] if kernel == "matern" else None,
            alpha=options["alpha"] if kernel == "rational-quadratic" else None,
        )
        for number, (length_scales, weight, kernel, boundary) in enumerate(
            zip(scales, weights, kernels, boundaries, strict=True), start=1
        )
    ]
    return Recipe(**{"name": _default_name(scales), "shape": options["size"], "components": components, **changes})


def _default_name(scales: list[list[float]]) -> str:
    """The length scales of each component; where that is long, the first and the last of them."""
    choices = [[f"{scale:g}" for scale in each] for each in scales]
    name = "textures " + " x ".join(map(",".join, choices))
    if len(name) > LONG_NAME:
        name = "textures " + " x ".join(each[0] if len(each) == 1 else f"{each[0]}…{each[-1]}" for each in choices)
    return name if len(name) <= LONG_NAME else f"textures of {len(choices)} components"
