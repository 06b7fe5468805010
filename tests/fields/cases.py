"""Grids with length scales that suit them, and kernels: cases for the spectra of tori and of windows."""

from gptex.fields import Exponential, Matern, RationalQuadratic, SquaredExponential

ROUNDING = 1e-12

# A shape with length scales that suit it, and kernels with what else they need.
GRIDS = [((37,), 3.0), ((64,), 0.5), ((12, 17), 1.2), ((20, 16), 2.0), ((1, 9), 0.3), ((7, 9, 8), 0.8)]
KERNELS = [
    SquaredExponential(),
    Exponential(),
    Matern(nu=0.8),
    Matern(nu=1.5),
    Matern(nu=2.5),
    RationalQuadratic(alpha=10.0),
]
STRETCHED = [SquaredExponential(aspect=2, angle=30), Matern(aspect=0.6, angle=90, nu=1.5), Exponential(aspect=1.5, angle=-75)]
CASES = [(shape, scale, kernel) for shape, scale in GRIDS for kernel in KERNELS]
CASES += [((12, 17), 1.0, kernel) for kernel in STRETCHED] + [((7, 9, 8), 0.6, STRETCHED[0])]


def ids(value):
    return str(value).replace("aspect=1.0, angle=0.0", "")
