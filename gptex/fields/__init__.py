"""Gaussian random fields: kernels, their spectra on grids, the sampler and the estimators. No files, no datasets."""

from gptex.fields.estimators import RadialSpectrum, autocovariance, radial_power_spectrum
from gptex.fields.kernels import (
    KERNELS,
    CovarianceKernel,
    Exponential,
    Kernel,
    Matern,
    PowerSpectrum,
    RationalQuadratic,
    SquaredExponential,
    kernel_by_name,
)
from gptex.fields.modes import Spectrum
from gptex.fields.sampler import Sampler, sample, superpose
from gptex.fields.spectra import spectrum
from gptex.fields.streams import stream

__all__ = [
    "KERNELS",
    "CovarianceKernel",
    "Exponential",
    "Kernel",
    "Matern",
    "PowerSpectrum",
    "RadialSpectrum",
    "RationalQuadratic",
    "Sampler",
    "Spectrum",
    "SquaredExponential",
    "autocovariance",
    "kernel_by_name",
    "radial_power_spectrum",
    "sample",
    "spectrum",
    "stream",
    "superpose",
]
