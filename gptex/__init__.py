"""gptex: labelled multi-scale Gaussian-process textures.

Importing this package is cheap: each public name brings its module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "DatasetError": "gptex.errors",
    "GptexError": "gptex.errors",
    "MissingExtraError": "gptex.errors",
    "RecipeError": "gptex.errors",
    "Sampler": "gptex.fields.sampler",
    "sample": "gptex.fields.sampler",
    "Component": "gptex.recipe",
    "Recipe": "gptex.recipe",
    "Texture": "gptex.recipe",
    "preset": "gptex.catalog",
    "presets": "gptex.catalog",
    "generate": "gptex.store",
    "plan": "gptex.store",
    "repair": "gptex.store",
    "verify": "gptex.store",
    "certify": "gptex.trust",
    "oracle": "gptex.trust",
    "combine": "gptex.published",
    "fetch": "gptex.published",
    "import_legacy": "gptex.published",
    "preview": "gptex.show",
    "report": "gptex.show",
    "Backdrop": "gptex.learn",
    "DeviceTextures": "gptex.learn",
    "RecipeDataset": "gptex.learn",
    "RecipeStream": "gptex.learn",
    "ShardShuffle": "gptex.learn",
    "TextureDataset": "gptex.learn",
    "auc_loss": "gptex.learn",
    "backdrop": "gptex.learn",
    "open": "gptex.learn",
    "plot_gradient_reach": "gptex.learn",
    "soft_f_beta_loss": "gptex.learn",
    "split": "gptex.learn",
}

_PACKAGES = ("fields", "learn", "published", "recipe", "show", "store", "trust")

__all__ = [  # for `from gptex import *`, which must not need torch nor hide the builtin `open`
    "Component",
    "DatasetError",
    "GptexError",
    "MissingExtraError",
    "Recipe",
    "RecipeError",
    "Sampler",
    "Texture",
    "__version__",
    "certify",
    "combine",
    "fetch",
    "generate",
    "import_legacy",
    "oracle",
    "plan",
    "preset",
    "presets",
    "preview",
    "repair",
    "report",
    "sample",
    "verify",
]

if TYPE_CHECKING:
    from gptex.catalog import preset, presets
    from gptex.errors import DatasetError, GptexError, MissingExtraError, RecipeError
    from gptex.fields.sampler import Sampler, sample
    from gptex.learn import Backdrop as Backdrop
    from gptex.learn import DeviceTextures as DeviceTextures
    from gptex.learn import RecipeDataset as RecipeDataset
    from gptex.learn import RecipeStream as RecipeStream
    from gptex.learn import ShardShuffle as ShardShuffle
    from gptex.learn import TextureDataset as TextureDataset
    from gptex.learn import auc_loss as auc_loss
    from gptex.learn import backdrop as backdrop
    from gptex.learn import open as open
    from gptex.learn import plot_gradient_reach as plot_gradient_reach
    from gptex.learn import soft_f_beta_loss as soft_f_beta_loss
    from gptex.learn import split as split
    from gptex.published import combine, fetch, import_legacy
    from gptex.recipe import Component, Recipe, Texture
    from gptex.show import preview, report
    from gptex.store import generate, plan, repair, verify
    from gptex.trust import certify, oracle


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"gptex.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'gptex' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
