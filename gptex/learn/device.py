"""Textures drawn on a device: the noise comes from the processor, the same as ever; filter, transforms and sums are torch's."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gptex.catalog import find_recipe
from gptex.errors import GptexError, RecipeError
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
        self.recipe = find_recipe(recipe)
        self.split, self.batch_size = check_split(split), operator.index(batch_size)
        if length is None and split not in self.recipe.splits:
            raise GptexError(f"recipe {self.recipe.name!r} does not count split {split!r}: give length=")
        self._length = self.recipe.count(split) if length is None else operator.index(length)
        if self.batch_size < 1 or self._length < 0:
            raise GptexError(f"a batch has at least one texture, not {batch_size}, and length is at least 0, not {length}")
        try:
            self.device = torch.zeros(1, device=device).device
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise GptexError(f"cannot use device {str(device)!r} ({reason}): device='cpu' draws on the processor") from None
        self._samplers: dict[tuple[int, int], Sampler] = {}
        self._matrices: dict[tuple[int, int], list[torch.Tensor]] = {}

    def __len__(self) -> int:
        """Number of batches."""
        return math.ceil(self._length / self.batch_size)

    def __iter__(self) -> Iterator[DeviceBatch]:
        for first in range(0, self._length, self.batch_size):
            yield self.batch(range(first, min(first + self.batch_size, self._length)))

    def batch(self, indices: Sequence[int]) -> DeviceBatch:
        """The textures at `indices`, counted from 0, which are those of the split whatever its length.

        Raises
        ------
        IndexError
            For an index that is not from 0 to 2**63 - 1.
        RecipeError
            If a length scale cannot be honoured on the grid, or a field to be standardized is constant.
        """
        recipe, indices = self.recipe, [operator.index(index) for index in indices]
        if indices and not 0 <= min(indices) <= max(indices) < 2**63:
            raise IndexError(f"a texture's index is from 0 to 2**63 - 1, not {min(indices)} or {max(indices)}")
        labels = np.array(indices, np.int64) % recipe.n_classes
        dtype = np.dtype("float64" if recipe.dtype == "float64" else "float32")
        images = self._on_device(np.zeros((len(indices), *recipe.shape), dtype))
        with ThreadPoolExecutor(available_cores()) as threads:
            for number, component in enumerate(recipe.components):
                choices = np.array([recipe.choices(label)[number] for label in labels.tolist()])
                for choice in np.unique(choices).tolist():
                    rows = np.flatnonzero(choices == choice)
                    fields = self._fields(number, choice, [indices[row] for row in rows], threads)
                    if recipe.standardize:
                        fields = _standardized(fields)
                    images.index_add_(0, self._on_device(rows), fields, alpha=component.weight)
            if recipe.noise_std:
                number = len(recipe.components)
                noises = threads.map(lambda index: normals(self._stream(index, number), recipe.shape, dtype), indices)
                for image, noise in zip(images, noises, strict=True):
                    image.add_(self._on_device(noise), alpha=recipe.noise_std)
        if recipe.dtype == "float16":
            images = images.half().float()  # as the processor rounds them
        scales = np.array([recipe.length_scales(label) for label in labels.tolist()], np.float32)
        scales = scales.reshape(len(indices), len(recipe.components))
        return DeviceBatch(images[:, None], self._on_device(labels), self._on_device(scales))

    def _on_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _stream(self, index: int, number: int) -> np.random.PCG64:
        return stream(self.recipe.seed, split_key(self.split), index, number)

    def _fields(self, number: int, choice: int, indices: Sequence[int], threads: Executor) -> torch.Tensor:
        """Fields of one component and length scale, shape (n, *shape)."""
        if (number, choice) not in self._samplers:
            self._samplers[number, choice] = self.recipe.sampler(number, choice)
        sampler = self._samplers[number, choice]
        drawn = threads.map(lambda index: sampler.draw(self._stream(index, number)), indices)
        amplitudes = self._on_device(np.stack(list(drawn)))
        if sampler.products is None:
            return _transformed(amplitudes, sampler.modes, self.recipe.shape)
        if (number, choice) not in self._matrices:
            matrices = [*sampler.products.leading, sampler.products.last]
            self._matrices[number, choice] = [self._on_device(matrix) for matrix in matrices]
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
    if bool((std <= 1e-6 * mean.abs()).any()):  # but for rounding
        raise RecipeError("a field that is constant over the window cannot be standardized")
    return (fields - mean) / std
