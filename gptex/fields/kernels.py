r"""Covariance kernels: what "length scale" means, and nothing about grids.

A kernel is a radial function of the scaled distance :math:`r = |x| / \ell`, with :math:`k(0) = 1`. Each one comes with its
spectral density

.. math:: S_d(q) = \int k(|x|) \, e^{-i q \cdot x} \, d^d x,

the scaled wave number :math:`q = |k| \ell` in radians, for any dimension :math:`d`. Formulas: Rasmussen & Williams,
*Gaussian Processes for Machine Learning* (2006), chapter 4, unless a docstring says otherwise.

Anisotropy is a stretch: with ``aspect = a`` the length scale is :math:`a \ell` along one direction and :math:`\ell` across
it. ``angle`` gives that direction in degrees from the axis of columns, counter-clockwise when the image is shown with row 0
on top.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gptex.errors import RecipeError, nearest

FloatArray = npt.NDArray[np.float64]

MAX_BESSEL_NU = 30.0  # above this order K overflows inside the range that matters; of nu and of alpha
MAX_GAMMA_NU = 1e4  # above, a difference of log Γ has lost too many digits
LARGEST_ASPECT = 1e4  # and its inverse; beyond, r² loses too many digits in the stretch
SMALLEST_SHAPE, LARGEST_SHAPE = 1e-3, 1e10  # of nu and of alpha, see `_check_shape`


@dataclass(frozen=True)
class Kernel(ABC):
    """A family of covariances; subclasses say which.

    Parameters
    ----------
    aspect : float
        Stretch along one direction, from 1e-4 to 1e4; 1 is isotropic.
    angle : float
        Direction of the stretch in degrees, see the module's text.
    """

    aspect: float = 1.0
    angle: float = 0.0

    name: ClassVar[str]

    def __post_init__(self) -> None:
        if not 1 / LARGEST_ASPECT <= self.aspect <= LARGEST_ASPECT:
            raise RecipeError(f"aspect must be from {1 / LARGEST_ASPECT:g} to {LARGEST_ASPECT:g}, not {self.aspect}")
        if not math.isfinite(self.angle):
            raise RecipeError(f"angle must be a finite number of degrees, not {self.angle}")

    @abstractmethod
    def spectral_density(self, q: npt.ArrayLike, dim: int) -> FloatArray:
        """Spectral density S_d at the scaled wave numbers `q` (radians), in `dim` dimensions."""

    def direction(self, dim: int) -> FloatArray:
        """Unit vector of the stretch, in array order (…, row, column).

        Raises
        ------
        RecipeError
            If a kernel with a stretch is asked for one dimension.
        """
        if dim == 1 and self.aspect != 1:
            raise RecipeError("aspect needs a grid of two or three dimensions")
        unit = np.zeros(dim)
        unit[-1] = math.cos(math.radians(self.angle))
        if dim > 1:
            unit[-2] = -math.sin(math.radians(self.angle))
        return unit

    def scaled_distance(self, lags: Sequence[npt.ArrayLike], length_scale: float) -> FloatArray:
        """Scaled distance r of lags in pixels, one broadcastable array an axis."""
        return self._scaled_norm(lags, self.aspect**-2 - 1) / length_scale

    def scaled_wavenumber(self, wavenumbers: Sequence[npt.ArrayLike], length_scale: float) -> FloatArray:
        """Scaled wave number q of wave vectors in radians per pixel, one broadcastable array an axis."""
        return self._scaled_norm(wavenumbers, self.aspect**2 - 1) * length_scale

    def _scaled_norm(self, vector: Sequence[npt.ArrayLike], stretch: float) -> FloatArray:
        """sqrt(|v|² + stretch (v·e)²), with e the direction of the stretch."""
        axes = [np.asarray(component, dtype=np.float64) for component in vector]
        square: Any = sum(component**2 for component in axes)
        if stretch:
            along: Any = sum(component * e for component, e in zip(axes, self.direction(len(axes)), strict=True))
            square = square + stretch * along**2
        return np.asarray(np.sqrt(np.maximum(square, 0)))

    def extents(self, length_scale: float, dim: int) -> FloatArray:
        """Half-widths in pixels of the box around the ellipsoid r ≤ 1, one an axis."""
        return length_scale * np.sqrt(1 + (self.aspect**2 - 1) * self.direction(dim) ** 2)

    def axis_length_scales(self, length_scale: float, dim: int) -> FloatArray:
        """Length scale in pixels of the field read along each axis alone."""
        return length_scale / np.sqrt(1 + (self.aspect**-2 - 1) * self.direction(dim) ** 2)


class CovarianceKernel(Kernel):
    """A kernel known by its correlation function k(r), which falls with r, to 0."""

    @abstractmethod
    def correlation(self, r: npt.ArrayLike) -> FloatArray:
        """Correlation k at the scaled distances `r` ≥ 0; k(0) = 1."""

    def covariance(self, lags: Sequence[npt.ArrayLike], length_scale: float) -> FloatArray:
        """Covariance at lags in pixels, one broadcastable array an axis; the variance is 1."""
        return self.correlation(self.scaled_distance(lags, length_scale))

    def reach(self, level: float) -> float:
        """Scaled distance beyond which the correlation is below `level`; may be inf."""
        from scipy.optimize import brentq

        outer = 1.0
        while self.correlation(outer) > level:
            outer *= 2
        return float(brentq(lambda r: float(self.correlation(r)) - level, 0, outer))

    def band_limit(self, level: float) -> float:
        """Scaled wave number beyond which, along one axis, less than the share `level` of the variance lies; may be inf."""
        from scipy.integrate import quad
        from scipy.optimize import brentq

        def beyond(q: float) -> float:
            return float(quad(lambda p: float(self.spectral_density(p, 1)) / math.pi, q, math.inf, epsabs=0, limit=200)[0])

        outer = 1.0
        while beyond(outer) > level:
            outer *= 2
            if outer > 2**16:
                return math.inf
        return float(brentq(lambda q: math.log(beyond(q) / level), outer / 2, outer)) if outer > 1 else outer


@dataclass(frozen=True)
class SquaredExponential(CovarianceKernel):
    r"""Squared exponential (Gaussian) kernel, :math:`k(r) = e^{-r^2/2}`.

    >>> float(SquaredExponential().correlation(1.0).round(6))
    0.606531
    """

    name: ClassVar[str] = "squared-exponential"

    def correlation(self, r: npt.ArrayLike) -> FloatArray:
        return np.exp(-0.5 * np.square(np.asarray(r, dtype=np.float64)))

    def spectral_density(self, q: npt.ArrayLike, dim: int) -> FloatArray:
        return np.asarray((2 * math.pi) ** (dim / 2) * np.exp(-0.5 * np.square(np.asarray(q, dtype=np.float64))))

    def reach(self, level: float) -> float:
        return math.sqrt(-2 * math.log(level))

    def band_limit(self, level: float) -> float:
        from scipy.special import erfcinv

        return float(math.sqrt(2) * erfcinv(level))


def _check_shape(name: str, value: float) -> None:
    """Refuse a ν or α next to white noise, to a constant or, nearer than 0.3 / ν at every r, to the squared exponential."""
    if not SMALLEST_SHAPE <= value <= LARGEST_SHAPE:
        raise RecipeError(
            f"{name} must be from {SMALLEST_SHAPE:g} to {LARGEST_SHAPE:g}, not {value}; for {name} → ∞ use squared-exponential"
        )


@dataclass(frozen=True)
class Matern(CovarianceKernel):
    r"""Matérn kernel of smoothness :math:`\nu > 0`, with :math:`z = \sqrt{2\nu}\, r`:

    .. math:: k(r) = \frac{2^{1-\nu}}{\Gamma(\nu)} z^\nu K_\nu(z).

    Closed forms serve ν = 1/2, 3/2 and 5/2. The spectral density along one axis is Student's t with 2ν degrees of freedom.

    Parameters
    ----------
    nu : float
        Smoothness ν, from 1e-3 to 1e10.

    >>> float(Matern(nu=1.5).correlation(1.0).round(6))
    0.483358
    """

    nu: float = 1.5
    name: ClassVar[str] = "matern"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shape("nu", self.nu)

    def correlation(self, r: npt.ArrayLike) -> FloatArray:
        z = math.sqrt(2 * self.nu) * np.asarray(r, dtype=np.float64)
        if self.nu == 0.5:
            return np.exp(-z)
        if self.nu == 1.5:
            return (1 + z) * np.exp(-z)
        if self.nu == 2.5:
            return np.asarray((1 + z + z**2 / 3) * np.exp(-z))
        return self._bessel(z) if self.nu <= MAX_BESSEL_NU else self._mixture(z)

    def _bessel(self, z: FloatArray) -> FloatArray:
        from scipy.special import gamma, kve

        with np.errstate(invalid="ignore", over="ignore"):
            k = 2 ** (1 - self.nu) / gamma(self.nu) * z**self.nu * kve(self.nu, z) * np.exp(-z)
        return np.where(np.isfinite(k), np.minimum(k, 1), 1.0)  # not finite only where z is 0 to rounding

    def _mixture(self, z: FloatArray) -> FloatArray:
        """k(r) = ∫ t^(ν-1) e^(-t - z²/4t) dt / Γ(ν), by the trapezoidal rule in log t around the peak t = ν."""
        from scipy.special import gammaln

        logs = math.log(self.nu) + np.linspace(-12, 12, 241) / math.sqrt(self.nu)
        weights = np.exp(self.nu * logs - np.exp(logs) - gammaln(self.nu)) * (logs[1] - logs[0])
        return np.asarray(
            sum(w * np.exp(-(z**2) / (4 * math.exp(log_t))) for log_t, w in zip(logs, weights, strict=True)) / weights.sum()
        )

    def spectral_density(self, q: npt.ArrayLike, dim: int) -> FloatArray:
        from scipy.special import gammaln, poch

        power = self.nu + dim / 2
        above, below = float(gammaln(power)), float(gammaln(self.nu))  # log Γ(ν + d/2) - log Γ(ν)
        if self.nu > MAX_GAMMA_NU:
            above, below = math.log(poch(self.nu, dim / 2)), 0.0
        constant = dim / 2 * math.log(2 * math.pi / self.nu) + above - below
        return np.asarray(np.exp(constant - power * np.log1p(np.square(np.asarray(q, dtype=np.float64)) / (2 * self.nu))))

    def band_limit(self, level: float) -> float:
        from scipy.special import stdtrit

        return float(-stdtrit(2 * self.nu, level / 2))


@dataclass(frozen=True)
class Exponential(Matern):
    r"""Exponential kernel, :math:`k(r) = e^{-r}`: Matérn of ν = 1/2."""

    nu: float = 0.5
    name: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu != 0.5:
            raise RecipeError("the exponential kernel takes no nu; use kernel matern")


@dataclass(frozen=True)
class RationalQuadratic(CovarianceKernel):
    r"""Rational quadratic kernel, :math:`k(r) = (1 + r^2 / 2\alpha)^{-\alpha}`.

    A mixture of squared exponentials of Gamma-distributed inverse square length scales; its transform follows term by
    term, a Bessel function K of order α - d/2. In d dimensions its power at wave number 0 is finite only for α > d/2.

    Parameters
    ----------
    alpha : float
        α, from 1e-3 to 1e10; the larger, the nearer to the squared exponential.
    """

    alpha: float = 1.0
    name: ClassVar[str] = "rational-quadratic"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shape("alpha", self.alpha)

    def correlation(self, r: npt.ArrayLike) -> FloatArray:
        return np.exp(-self.alpha * np.log1p(np.square(np.asarray(r, dtype=np.float64)) / (2 * self.alpha)))

    def spectral_density(self, q: npt.ArrayLike, dim: int) -> FloatArray:
        from scipy.special import gammaln, kve

        q = np.asarray(q, dtype=np.float64)
        if self.alpha > MAX_BESSEL_NU:
            return self._mixture(q, dim)
        order = self.alpha - dim / 2
        z = math.sqrt(2 * self.alpha) * q
        constant = dim / 2 * math.log(2 * math.pi * self.alpha) - gammaln(self.alpha)
        at_zero = math.exp(constant + gammaln(order)) if order > 0 else math.inf
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            density = np.exp(constant + math.log(2) + order * np.log(z / 2) + np.log(kve(order, z)) - z)
        density = np.where(np.isfinite(density), np.minimum(density, at_zero), at_zero)
        return np.where(z < 1e4, density, 0.0)  # far beyond the z where e^-z is 0; scipy's K ends at 1e9

    def _mixture(self, q: FloatArray, dim: int) -> FloatArray:
        """E[(2π/t)^(d/2) e^(-q²/2t)] for t ~ Gamma(α, α), by the trapezoidal rule in log t around the peak t = 1."""
        logs = np.linspace(-12, 12, 241) / math.sqrt(self.alpha)
        weights = np.exp(self.alpha * (logs - np.expm1(logs)))
        weights = weights / weights.sum() * (2 * math.pi * np.exp(-logs)) ** (dim / 2)
        return np.asarray(sum(w * np.exp(-(q**2) / 2 * math.exp(-log_t)) for log_t, w in zip(logs, weights, strict=True)))

    def reach(self, level: float) -> float:
        exponent = -math.log(level) / self.alpha
        return math.sqrt(2 * self.alpha * math.expm1(exponent)) if exponent < 600 else math.inf


@dataclass(frozen=True)
class PowerSpectrum(Kernel):
    """A kernel given by its radial power spectrum P(q), a callable or a table; the field has variance 1 on its grid.

    Its `spectral_density` is P as it was given, in any dimension and on any scale.

    The spectrum lives on the modes of the grid, up to its Nyquist frequencies, and is scaled to unit variance there. The
    length scale stretches it: q = k ℓ with k in radians per pixel, so a spectrum already in those units takes ℓ = 1.

    Parameters
    ----------
    power : callable or tuple of (q, P) pairs
        A callable gets a float64 array of scaled wave numbers q ≥ 0 and returns P of the same shape, finite and ≥ 0, at
        q = 0 too (0 there for a field of mean zero). A table has at least two rows, q increasing, P ≥ 0; between its rows
        P is interpolated by monotone cubics (PCHIP), outside it there is no power.
    """

    power: Callable[[FloatArray], npt.ArrayLike] | tuple[tuple[float, float], ...] = ()
    name: ClassVar[str] = "spectrum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if callable(self.power):
            return
        try:
            table = np.asarray(self.power, dtype=np.float64)
        except (TypeError, ValueError):
            table = np.empty(0)
        if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2:
            raise RecipeError("a spectrum is a callable or a table of at least two rows (q, P)")
        if not np.isfinite(table).all() or (table < 0).any() or (np.diff(table[:, 0]) <= 0).any():
            raise RecipeError("a spectrum's table must be finite, with q increasing and q and P not negative")
        object.__setattr__(self, "power", tuple((float(q), float(p)) for q, p in table))

    def spectral_density(self, q: npt.ArrayLike, dim: int) -> FloatArray:
        q = np.asarray(q, dtype=np.float64)
        evaluate = self.power if callable(self.power) else _interpolant(self.power)
        with np.errstate(divide="ignore", invalid="ignore"):
            power = np.asarray(evaluate(q), dtype=np.float64)
        if power.shape != q.shape:
            raise RecipeError(f"the spectrum returned shape {power.shape} for wave numbers of shape {q.shape}")
        wrong = ~(np.isfinite(power) & (power >= 0))
        if wrong.any():
            at, value = q[wrong].flat[0], power[wrong].flat[0]
            raise RecipeError(f"the spectrum must be finite and not negative, at q = {at:g} it is {value:g}")
        return power

    @classmethod
    def tabulate(
        cls, function: Callable[[FloatArray], npt.ArrayLike], wavenumbers: npt.ArrayLike, **kwargs: float
    ) -> PowerSpectrum:
        """The table of `function` at the scaled wave numbers `wavenumbers`, increasing: it can be written into a recipe's file.

        Raises
        ------
        RecipeError
            If the table is not one of `PowerSpectrum`.
        """
        q = np.asarray(wavenumbers, dtype=np.float64)
        return cls(power=tuple(zip(q.tolist(), np.asarray(function(q), dtype=np.float64).tolist(), strict=True)), **kwargs)


@lru_cache(maxsize=16)
def _interpolant(table: tuple[tuple[float, float], ...]) -> Callable[[FloatArray], FloatArray]:
    from scipy.interpolate import PchipInterpolator

    q, power = np.transpose(np.asarray(table, dtype=np.float64))
    inside = PchipInterpolator(q, power, extrapolate=False)
    return lambda wavenumbers: np.maximum(np.nan_to_num(inside(wavenumbers), nan=0.0), 0)  # rounding may fall below 0


KERNELS: dict[str, type[Kernel]] = {
    kernel.name: kernel for kernel in (SquaredExponential, Matern, Exponential, RationalQuadratic, PowerSpectrum)
}


def kernel_by_name(name: str, **parameters: Any) -> Kernel:
    """The kernel called `name` (a key of `KERNELS`) with its parameters.

    >>> kernel_by_name("matern", nu=2.5)
    Matern(aspect=1.0, angle=0.0, nu=2.5)

    Raises
    ------
    RecipeError
        If there is no such kernel, it has no such parameter, or a value is out of range.
    """
    if name not in KERNELS:
        raise RecipeError(f"there is no kernel {name!r}: {nearest(name, list(KERNELS))}")
    known = [f.name for f in fields(KERNELS[name])]
    for parameter in parameters:
        if parameter not in known:
            raise RecipeError(f"kernel {name} has no parameter {parameter!r}: {nearest(parameter, known)}")
    return KERNELS[name](**parameters)
