"""The sampler: from random normals to a field on a grid.

A `Sampler` is set up once for a grid, a kernel and a length scale; each call then draws one field. It draws only the modes
that carry variance (`gptex.fields.modes`) and turns them into pixels in one of two ways:

- an inverse real FFT over the torus, cut to the window. Columns of modes without power are never touched, and periodic
  fields on one grid share the transform (`superpose`).
- for open fields of few modes, products with thin matrices of cosines and sines, which give the window directly however
  large the torus (`ThinProducts`).

Modes that are their own conjugates (the zero column of the half spectrum, and its Nyquist column for even sizes) are drawn
with √2 times the amplitude: the real transform keeps the Hermitian half of what stands there, which halves their power.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.fft

from gptex.errors import RecipeError
from gptex.fields.blas import one_blas_thread
from gptex.fields.kernels import Kernel, kernel_by_name
from gptex.fields.modes import ModeBox, Shape, mode_numbers
from gptex.fields.spectra import DEFAULT_TOLERANCE, Boundary, spectrum
from gptex.fields.streams import BLOCK, check_seed, complex_normals, stream

Field = npt.NDArray[np.floating[Any]]
Amplitudes = npt.NDArray[np.complexfloating[Any, Any]]
Precision = Literal["float32", "float64"]


def check_shape(shape: int | Sequence[int]) -> Shape:
    """`shape` as a tuple of one to three positive ints; RecipeError for anything else."""
    try:
        sizes = tuple(operator.index(n) for n in (shape if isinstance(shape, Sequence) else [shape]))
    except TypeError:
        raise RecipeError(f"a shape is made of whole numbers, not {shape!r}") from None
    if not 1 <= len(sizes) <= 3 or min(sizes) < 1:
        raise RecipeError(f"a grid has one to three axes of at least one pixel, not shape {shape!r}")
    if math.prod(sizes) > 2**31:
        raise RecipeError(f"a grid has at most 2**31 points, shape {shape!r} has {math.prod(sizes)}")
    return sizes


class Sampler:
    """Draws Gaussian random fields with one kernel and length scale on one grid.

    Parameters
    ----------
    shape : int or sequence of int
        Size in pixels of each axis, one to three of them, in array order.
    kernel : str or Kernel
        A name from `gptex.fields.KERNELS` or a kernel object.
    length_scale : float
        In pixels, of the kernel's textbook form.
    boundary : {"periodic", "open"}
        A torus, whose covariance is summed over images, or free edges, whose covariance is the kernel itself.
    dtype : {"float32", "float64"}
        Of the fields. Both draw the same normals, so one seed gives the same field to rounding.
    tolerance : float
        Largest error of the covariance, as a share of the variance, rounding apart.
    **kernel_parameters
        Such as ``nu=1.5``, where the kernel is given by name.

    Attributes
    ----------
    modes : ModeBox
        Those that are drawn, of the grid itself or of a larger torus.
    products : ThinProducts or None
        The matrices that turn few modes of an open field into pixels; None where an FFT does.
    loss : float
        Declared error of the covariance at any lag, with the field's variance as unit: a bound, but an estimate for open fields
        of a given power spectrum. Rounding comes on top, of some 1e-7 in float32 and 1e-15 in float64.

    Raises
    ------
    RecipeError
        If a value is out of range, or the length scale cannot be honoured on the grid.

    Examples
    --------
    >>> sampler = Sampler((64, 64), "matern", 4.0, nu=1.5)
    >>> sampler(seed=0).shape
    (64, 64)
    >>> bool((sampler(seed=1) == sampler(seed=1)).all())
    True
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        kernel: str | Kernel,
        length_scale: float,
        *,
        boundary: Boundary = "periodic",
        dtype: Precision = "float32",
        tolerance: float = DEFAULT_TOLERANCE,
        **kernel_parameters: Any,
    ) -> None:
        self.shape = check_shape(shape)
        if isinstance(kernel, str):
            kernel = kernel_by_name(kernel, **kernel_parameters)
        elif kernel_parameters:
            raise RecipeError(f"{next(iter(kernel_parameters))} goes with a kernel's name, a kernel object has its own")
        if dtype not in ("float32", "float64"):
            raise RecipeError(f"dtype must be float32 or float64, not {dtype!r}")
        self.kernel = kernel
        self.length_scale = float(length_scale)
        self.boundary: Boundary = boundary
        self.dtype = np.dtype(dtype)
        found = spectrum(self.shape, kernel, self.length_scale, boundary, tolerance)
        self.modes = ModeBox(found.torus, found.cutoff)
        self.loss = found.loss
        std = found.variance  # of the real and of the imaginary part of each amplitude, once divided and rooted
        std /= found.multiplicity
        self._std, self._rows = _without_mirrored(np.sqrt(std, out=std).astype(self.dtype), self.modes)
        thin = boundary == "open" and self.modes.thin(self.shape)
        self.products = ThinProducts(self.shape, self.modes, self.dtype) if thin else None

    def __repr__(self) -> str:
        return f"Sampler({self.shape}, {self.kernel}, {self.length_scale:g}, boundary={self.boundary!r}, dtype='{self.dtype}')"

    def __call__(self, seed: int) -> Field:
        """The field of `seed`, of shape `shape` and type `dtype`, drawn from a process of mean 0 and variance 1.

        Raises
        ------
        RecipeError
            If the seed is not a whole number from 0 to 2**128 - 1.
        """
        bits = stream(check_seed(seed))
        return superpose([self], lambda _: self.draw(bits))

    def draw(self, bits: np.random.PCG64) -> Amplitudes:
        """Random amplitudes of the modes, in the order of `Spectrum.variance`."""
        columns = self._std.shape[1]
        amplitudes = np.empty((len(self._rows), columns), np.result_type(self.dtype, np.complex64))
        at_once = max(1, BLOCK // columns)
        for first in range(0, len(self._rows), at_once):
            block = slice(first, first + at_once)
            complex_normals(bits, self._std.take(self._rows[block], axis=0), out=amplitudes[block])
        return amplitudes.reshape(self.modes.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the sampler takes."""
        return self._std.nbytes + self._rows.nbytes + (self.products.nbytes if self.products else 0)

    def _add_open(self, amplitudes: Amplitudes, total: Field | None, weight: float, standardize: bool) -> Field:
        """`total` plus `weight` times the open field of `amplitudes`; both arrays are used up."""
        if self.products is not None:
            return self.products.add(amplitudes, total, weight, standardize)
        field = _inverse(self.modes.torus, self.shape, _spread(amplitudes, self.modes, self.modes.cutoff[-1] + 1))
        if standardize:
            field -= field.mean(dtype=np.float64)
            weight /= _nonzero(math.sqrt(np.square(field).mean(dtype=np.float64)))
        field *= weight
        return field if total is None else np.add(total, field, out=total)


def _without_mirrored(std: Field, box: ModeBox) -> tuple[Field, npt.NDArray[np.intp]]:
    """The rows of `std` but for those that mirror others, and for each leading mode the number of its row."""
    *leading, columns = box.shape
    along = (np.moveaxis(std, axis, 0) for axis in range(len(leading)))
    if not all(np.array_equal(rows[1:], rows[:0:-1]) for rows in along):  # as with a stretch across the grid's axes
        return std.reshape(-1, columns), np.arange(math.prod(leading))
    sizes = [top + 1 for top in box.cutoff[:-1]]
    folds = [np.abs(numbers).ravel().astype(np.intp) for numbers in mode_numbers(box.torus, box.cutoff)[:-1]]
    rows = np.arange(math.prod(sizes)).reshape(sizes)[np.ix_(*folds)]
    return std[tuple(map(slice, sizes))].reshape(-1, columns).copy(), rows.ravel()


def superpose(
    samplers: Sequence[Sampler],
    draws: Sequence[Amplitudes] | Callable[[int], Amplitudes],
    weights: Sequence[float] | None = None,
    standardize: bool = False,
) -> Field:
    """The weighted sum of the fields of `draws`, with one inverse transform for all periodic ones.

    Parameters
    ----------
    samplers : sequence of Sampler
        Of one shape and dtype.
    draws : sequence or callable
        The amplitudes drawn by each sampler; or what draws those of sampler number i once they are needed, so that not all
        are in memory at one time. They are used up.
    weights : sequence of float, optional
        What each field is multiplied by; 1 if left out.
    standardize : bool
        Shift each field to mean 0 and scale it to standard deviation 1 over the window, before it is multiplied.

    Returns
    -------
    ndarray of the samplers' shape and dtype

    Raises
    ------
    RecipeError
        Without any field, or if a field to be standardized is constant over the window.
    """
    draw: Callable[[int], Amplitudes] = draws if callable(draws) else draws.__getitem__
    weights = [1.0] * len(samplers) if weights is None else weights
    parts = list(zip(range(len(samplers)), samplers, weights, strict=True))
    periodic = [part for part in parts if part[1].boundary == "periodic"]
    total = _periodic(periodic, draw, standardize) if periodic else None
    for number, sampler, weight in parts:
        if sampler.boundary == "open":
            total = sampler._add_open(draw(number), total, weight, standardize)
    if total is None:
        raise RecipeError("superpose needs at least one field")
    return total


def _periodic(parts: list[tuple[int, Sampler, float]], draw: Callable[[int], Amplitudes], standardize: bool) -> Field:
    """The weighted sum of periodic fields, each given by its number, sampler and weight."""
    torus = parts[0][1].shape
    columns = max(sampler.modes.cutoff[-1] for _, sampler, _ in parts) + 1
    first = max(parts, key=lambda part: part[1].modes.shape == (*torus[:-1], columns))  # if one has room for all
    if columns > 0.9 * (torus[-1] // 2 + 1):
        columns = torus[-1] // 2 + 1  # else the transform makes a copy to get there

    def drawn(number: int, sampler: Sampler, weight: float) -> Amplitudes:
        return _scaled(draw(number), sampler, weight, standardize)

    total = _spread(drawn(*first), first[1].modes, columns)
    for part in parts:
        if part is not first:
            _add(total, drawn(*part), part[1].modes)
    return _inverse(torus, torus, total)


def _scaled(amplitudes: Amplitudes, sampler: Sampler, weight: float, standardize: bool) -> Amplitudes:
    """The amplitudes of a periodic field times `weight`, in place; its mean and variance are read off them (Parseval)."""
    if standardize:
        weight /= _nonzero(_torus_std(amplitudes, sampler.modes))
        amplitudes.flat[0] = 0
    if weight != 1:
        amplitudes *= sampler.dtype.type(weight)
    return amplitudes


def _nonzero(std: float) -> float:
    if std == 0:
        raise RecipeError("a field that is constant over the window cannot be standardized")
    return std


def _spread(amplitudes: Amplitudes, box: ModeBox, columns: int) -> Amplitudes:
    """The amplitudes of the modes `box` in an array of all rows and so many columns of the torus, which may be the same one."""
    shape = (*box.torus[:-1], columns)
    if amplitudes.shape == shape:
        return amplitudes
    total = np.zeros(shape, amplitudes.dtype)
    _add(total, amplitudes, box)
    return total


def _add(total: Amplitudes, amplitudes: Amplitudes, box: ModeBox) -> None:
    """Add the amplitudes of the modes `box` to those of `total`, which has all rows of the torus."""
    for corner in itertools.product(*map(_ends, box.torus[:-1], amplitudes.shape[:-1], box.cutoff[:-1])):
        into = (*(there for there, _ in corner), slice(amplitudes.shape[-1]))
        total[into] += amplitudes[tuple(here for _, here in corner)]


def _inverse(torus: Shape, window: Shape, amplitudes: Amplitudes) -> Field:
    """The field of amplitudes in all rows of `torus`, which are used up, as pixels of the first `window` of each axis."""
    if len(torus) > 1:
        amplitudes = scipy.fft.ifftn(amplitudes, axes=tuple(range(len(torus) - 1)), norm="forward", overwrite_x=True)
        amplitudes = amplitudes[tuple(slice(n) for n in window[:-1])]
    field: Field = scipy.fft.irfft(amplitudes, n=torus[-1], norm="forward")
    return field if torus == window else np.ascontiguousarray(field[..., : window[-1]])


def _ends(size: int, count: int, top: int) -> list[tuple[slice, slice]]:
    """Where the `count` modes up to ±`top` of an axis lie among `size` modes in FFT order: pairs (there, here)."""
    if count == size:
        return [(slice(None), slice(None))]
    return [(slice(top + 1), slice(top + 1)), (slice(size - top, size), slice(count - top, count))]


def _torus_std(amplitudes: Amplitudes, box: ModeBox) -> float:
    """Standard deviation over a whole torus of the field with these amplitudes."""
    power = 2 * _power(amplitudes)
    for column in box.self_conjugate:
        plane = np.atleast_1d(amplitudes[..., column])
        mirrored = np.roll(np.flip(plane), 1, axis=tuple(range(plane.ndim)))
        power += _power((plane + mirrored.conj()) / 2) - 2 * _power(plane)
    variance = power - float(amplitudes.flat[0].real) ** 2
    return math.sqrt(variance) if variance > 1e-6 * power else 0.0  # 0 but for rounding


def _power(amplitudes: Amplitudes) -> float:
    """Sum of |amplitudes|², pairwise in float64."""
    return float(np.square(amplitudes.real).sum(dtype=np.float64) + np.square(amplitudes.imag).sum(dtype=np.float64))


class ThinProducts:
    """Fields of few modes on a torus, in the window at its origin, by a product with one thin matrix an axis."""

    def __init__(self, window: Shape, box: ModeBox, dtype: np.dtype[Any]) -> None:
        numbers = mode_numbers(box.torus, box.cutoff)
        turns = [m.ravel() / size for m, size in zip(numbers, box.torus, strict=True)]
        phases = [2 * math.pi * np.outer(np.arange(n), turn) for n, turn in zip(window, turns, strict=True)]
        self.window = window
        self.leading = [np.exp(1j * phase).astype(np.result_type(dtype, np.complex64)) for phase in phases[:-1]]
        columns = np.stack([np.cos(phases[-1]), -np.sin(phases[-1])], axis=-1)  # (pixels, modes, real and imaginary part)
        last = (columns * box.multiplicity[:, None]).reshape(window[-1], -1).T
        self.last = np.ascontiguousarray(last, dtype=dtype)
        self.last_mean = last.mean(axis=1)
        with one_blas_thread:
            self.last_gram = last @ last.T
        self.last_covariance = self.last_gram - window[-1] * np.outer(self.last_mean, self.last_mean)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the matrices take."""
        return sum(array.nbytes for array in (*self.leading, self.last, self.last_mean, self.last_gram, self.last_covariance))

    def add(self, amplitudes: Amplitudes, total: Field | None, weight: float, standardize: bool) -> Field:
        """`total` plus `weight` times the field of `amplitudes`; `total` is used up."""
        with one_blas_thread:
            return self._add(amplitudes, total, weight, standardize)

    def _add(self, amplitudes: Amplitudes, total: Field | None, weight: float, standardize: bool) -> Field:
        from scipy.linalg.blas import dgemm, sgemm

        for axis, matrix in enumerate(self.leading):
            amplitudes = np.moveaxis(np.tensordot(matrix, amplitudes, axes=(1, axis)), 0, axis)
        rows = np.ascontiguousarray(amplitudes).view(self.last.dtype).reshape(-1, len(self.last))
        if standardize:
            mean, std = self._moments(rows)
            weight /= _nonzero(std)
            rows[:, 0] -= mean  # the cosine of mode 0 is 1 everywhere
        gemm = sgemm if self.last.dtype == np.float32 else dgemm
        # BLAS counts in columns: with everything transposed, C order is what it wants and `total` is added to in place.
        so_far = {} if total is None else {"beta": 1.0, "c": total.reshape(-1, self.window[-1]).T, "overwrite_c": True}
        return np.asarray(gemm(weight, self.last.T, rows.T, **so_far).T.reshape(self.window))

    def _moments(self, rows: Field) -> tuple[float, float]:
        """Mean and standard deviation over the window of ``rows @ last``, without forming it."""
        mean = rows.mean(axis=0, dtype=np.float64)
        centred = rows - mean.astype(rows.dtype)
        square = float(((centred.T @ centred) * self.last_gram).sum() + len(rows) * mean @ self.last_covariance @ mean)
        return float(mean @ self.last_mean), math.sqrt(max(square, 0) / (len(rows) * self.window[-1]))


@lru_cache(maxsize=8)
def _cached_sampler(
    shape: Shape, kernel: Kernel, length_scale: float, boundary: Boundary, dtype: Precision, tolerance: float
) -> Sampler:
    return Sampler(shape, kernel, length_scale, boundary=boundary, dtype=dtype, tolerance=tolerance)


def sample(
    shape: int | Sequence[int],
    kernel: str | Kernel,
    length_scale: float,
    *,
    seed: int,
    boundary: Boundary = "periodic",
    dtype: Precision = "float32",
    tolerance: float = DEFAULT_TOLERANCE,
    **kernel_parameters: Any,
) -> Field:
    """One field of a Gaussian process of mean 0 and variance 1, of `shape` and `dtype`.

    Parameters and errors are those of `Sampler` and of a call to it with `seed`. The setups of the last few calls are kept,
    but not for kernels that are not dataclasses.

    >>> sample((4, 4), "squared-exponential", 1.0, seed=0, boundary="open").shape
    (4, 4)
    """
    if isinstance(kernel, str):
        kernel, kernel_parameters = kernel_by_name(kernel, **kernel_parameters), {}
    if kernel_parameters or not _by_value(kernel):  # refused there, or not to be kept
        return Sampler(shape, kernel, length_scale, boundary=boundary, dtype=dtype, tolerance=tolerance, **kernel_parameters)(
            seed
        )
    return _cached_sampler(check_shape(shape), kernel, float(length_scale), boundary, dtype, tolerance)(seed)


def _by_value(kernel: Kernel) -> bool:
    """Whether a kernel can be looked up by its parameters."""
    try:
        hash(kernel)
    except TypeError:
        return False
    return "__dataclass_fields__" in vars(type(kernel))
