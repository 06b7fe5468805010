"""One periodic field of 1024², squared exponential with ℓ = 10 pixels, by gptex and by other packages, one thread."""

from __future__ import annotations

import warnings

import FyeldGenerator
import gstools
import numpy as np
import powerbox

import gptex
from benchmarks.timing import in_turn, table

SIZE, SCALE = 1024, 10.0


def power(k: np.ndarray) -> np.ndarray:
    """Spectral density of the field, k in radians per pixel."""
    return 2 * np.pi * SCALE**2 * np.exp(-0.5 * (k * SCALE) ** 2)


def with_powerbox(seed: int) -> np.ndarray:
    """powerbox's field; its modes are in radians per unit of length with b = 1."""
    return powerbox.PowerBox(N=SIZE, dim=2, pk=power, boxlength=float(SIZE), seed=seed, a=1, b=1).delta_x()


def with_fyeldgenerator(seed: int) -> np.ndarray:
    """FyeldGenerator's field; its wave numbers are cycles per pixel."""
    rng = np.random.default_rng(seed)

    def normals(shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    return FyeldGenerator.generate_field(normals, lambda k: power(2 * np.pi * k), (SIZE, SIZE))


def with_gstools(seed: int) -> np.ndarray:
    """GSTools' field by its default method, a sum of 1000 random waves, which is no exact Gaussian field."""
    model = gstools.Gaussian(dim=2, var=1, len_scale=SCALE * np.sqrt(np.pi / 2))
    return gstools.SRF(model, seed=seed).structured([np.arange(SIZE), np.arange(SIZE)])


def with_setup(seed: int) -> np.ndarray:
    """A gptex field from nothing."""
    return gptex.Sampler((SIZE, SIZE), "squared-exponential", SCALE)(seed)


def main() -> None:
    """Print the times."""
    warnings.simplefilter("ignore")
    sampler = gptex.Sampler((SIZE, SIZE), "squared-exponential", SCALE)
    makers = {
        "gptex, set up": sampler,
        "gptex, with setup": with_setup,
        f"powerbox {powerbox.__version__}": with_powerbox,
        "FyeldGenerator": with_fyeldgenerator,
    }
    times = in_turn({name: (lambda make=make: make(0)) for name, make in makers.items()}, 10)
    times[f"GSTools {gstools.__version__}, 1000 random waves"] = in_turn({"": lambda: with_gstools(0)}, 1)[""]
    table(times, "gptex, set up")
