"""Textures drawn on a device: the noise comes from the processor, the same as ever; filter, transforms and sums are torch's."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gptex.catalog import find_recipe
from gptex.errors import GptexError
from gptex.fields.modes import ModeBox, Shape
from gptex.fields.sampler import Sampler
from gptex.fields.streams import normals, split_key, stream
from gptex.recipe import Recipe
from gptex.recipe.names import check_split
from gptex.store.workers import available_cores


class DeviceBatch(NamedTuple):
    """Textures on a device.

    Attributes
    ----------
    images : tensor of shape (n, 1, *shape), float32 (float64 for recipes of that dtype)
    labels : tensor of shape (n,), int64
    length_scales : tensor of shape (n, components), float32
    """

    images: torch.Tensor
    labels: torch.Tensor
    length_scales: torch.Tensor


class DeviceTextures:
    """Batches of a recipe's textures, drawn on a device; they equal those of the processor to rounding.

    Iterating gives batch after batch, the last one perhaps smaller; `batch` gives any textures.

    Parameters
    ----------
    recipe : Recipe, str or path
        Or the name of a preset, or the path of a recipe's file.
    split : str
    device : str or torch.device
    batch_size : int
    length : int, optional
        Number of textures, if not what the recipe counts.

    Raises
    ------
    GptexError
        If there is no such recipe or its grid cannot honour it, or neither it nor `length` says how many textures there are.

    Examples
    --------
    >>> for images, labels, length_scales in DeviceTextures("golkar-cranmer-2018", device="cpu", batch_size=2, length=3):
    ...     print(tuple(images.shape), labels.tolist())
    (2, 1, 1024, 1024) [0, 1]
    (1, 1, 1024, 1024) [2]
    """

    def __init__(
        self,
        recipe: Recipe | str | Path,
        split: str = "train",
        *,
        device: str | torch.device = "cuda",
        batch_size: int = 8,
        length: int | None = None,
    ) -> None:
        self.recipe = recipe if isinstance(recipe, Recipe) else find_recipe(recipe)
        self.split, self.device, self.batch_size = check_split(split), torch.device(device), operator.index(batch_size)
        if length is None and split not in self.recipe.splits:
            raise GptexError(f"recipe {self.recipe.name!r} does not count split {split!r}: give length=")
        self._length = self.recipe.count(split) if length is None else operator.index(length)
        if self.batch_size < 1 or self._length < 0:
            raise GptexError(f"a batch has at least one texture, not {batch_size}, and length is at least 0, not {length}")
        self._samplers: dict[tuple[int, int], Sampler] = {}
        self._matrices: dict[tuple[int, int], list[torch.Tensor]] = {}
        self._threads = ThreadPoolExecutor(available_cores())  # for the noise

    def __len__(self) -> int:
        """Number of batches."""
        return math.ceil(self._length / self.batch_size)

    def __iter__(self) -> Iterator[DeviceBatch]:
        for first in range(0, self._length, self.batch_size):
            yield self.batch(range(first, min(first + self.batch_size, self._length)))

    def batch(self, indices: Sequence[int]) -> DeviceBatch:
        """The textures at `indices`, which are those of the split whatever its length."""
        recipe = self.recipe
        labels = [index % recipe.n_classes for index in indices]
        real = torch.float64 if recipe.dtype == "float64" else torch.float32
        images = torch.zeros((len(labels), *recipe.shape), dtype=real, device=self.device)
        for number, component in enumerate(recipe.components):
            by_choice: dict[int, list[int]] = {}
            for row, label in enumerate(labels):
                by_choice.setdefault(recipe.choices(label)[number], []).append(row)
            for choice, rows in by_choice.items():
                fields = self._fields(number, choice, [indices[row] for row in rows])
                if recipe.standardize:
                    fields = _standardized(fields)
                images[rows] += component.weight * fields
        if recipe.noise_std:
            noise = [normals(self._stream(index, len(recipe.components)), recipe.shape, str(real)[6:]) for index in indices]
            images += recipe.noise_std * torch.from_numpy(np.stack(noise)).to(self.device)
        if recipe.dtype == "float16":
            images = images.half().float()  # as the processor rounds them
        scales = torch.tensor([recipe.length_scales(label) for label in labels], dtype=torch.float32, device=self.device)
        return DeviceBatch(images[:, None], torch.tensor(labels, device=self.device), scales)

    def _stream(self, index: int, number: int) -> np.random.PCG64:
        return stream(self.recipe.seed, split_key(self.split), index, number)

    def _fields(self, number: int, choice: int, indices: Sequence[int]) -> torch.Tensor:
        """Fields of one component and length scale, shape (n, *shape)."""
        if (number, choice) not in self._samplers:
            self._samplers[number, choice] = self.recipe.sampler(number, choice)
        sampler = self._samplers[number, choice]
        drawn = self._threads.map(lambda index: sampler.draw(self._stream(index, number)), indices)
        amplitudes = torch.from_numpy(np.stack(list(drawn))).to(self.device)
        if sampler.products is None:
            return _transformed(amplitudes, sampler.modes, self.recipe.shape)
        if (number, choice) not in self._matrices:
            matrices = [*sampler.products.leading, sampler.products.last]
            self._matrices[number, choice] = [torch.from_numpy(matrix).to(self.device) for matrix in matrices]
        return _multiplied(amplitudes, self._matrices[number, choice])


def _transformed(amplitudes: torch.Tensor, modes: ModeBox, window: Shape) -> torch.Tensor:
    """Pixels of the window from amplitudes of modes, by inverse FFTs over the torus."""
    torus, axes = modes.torus, tuple(range(1, len(modes.torus)))
    spectrum = amplitudes.new_zeros((len(amplitudes), *torus[:-1], modes.cutoff[-1] + 1))
    places: tuple[Any, ...] = (slice(None), *map(torch.from_numpy, modes.index))
    spectrum[places] = amplitudes
    if axes:
        spectrum = torch.fft.ifftn(spectrum, dim=axes, norm="forward")
        spectrum = spectrum[(slice(None), *map(slice, window[:-1]))]
    for column in modes.self_conjugate:  # of these the real part counts, which not every FFT library sees to
        spectrum[..., column].imag.zero_()
    fields: torch.Tensor = torch.fft.irfft(spectrum, n=torus[-1], norm="forward")
    return fields[..., : window[-1]]


def _multiplied(amplitudes: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pixels of the window from amplitudes of few modes, by a thin matrix for each axis."""
    *leading, last = matrices
    for axis, matrix in enumerate(leading, start=1):
        amplitudes = torch.movedim(torch.tensordot(amplitudes, matrix, dims=([axis], [1])), -1, axis)
    rows: torch.Tensor = torch.view_as_real(amplitudes.contiguous()).flatten(-2)
    return rows @ last


def _standardized(fields: torch.Tensor) -> torch.Tensor:
    """Each field shifted to mean 0 and scaled to standard deviation 1."""
    axes = tuple(range(1, fields.ndim))
    std, mean = torch.std_mean(fields, dim=axes, correction=0, keepdim=True)
    return (fields - mean) / std
