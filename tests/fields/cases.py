"""Grids with length scales that suit them, and kernels: cases for the spectra of tori and of windows, and for the sampler."""

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

# Each way from amplitudes to pixels, on grids of every kind: (shape, kernel, length scale, boundary, thin products?)
PATHS = {
    "periodic 1-D odd": ((31,), SquaredExponential(), 3.0, "periodic", False),
    "periodic 1-D even": ((32,), Exponential(), 2.0, "periodic", False),
    "periodic 2-D odd": ((21, 19), Exponential(), 2.0, "periodic", False),
    "periodic 2-D even": ((20, 24), Exponential(), 2.0, "periodic", False),
    "periodic 2-D few modes": ((40, 30), SquaredExponential(), 3.0, "periodic", False),
    "periodic 2-D mixed": ((16, 15), Matern(nu=0.8), 1.5, "periodic", False),
    "periodic 3-D": ((9, 8, 10), Exponential(), 1.0, "periodic", False),
    "open FFT 1-D": ((200,), Exponential(), 4.0, "open", False),
    "open FFT 2-D even": ((128, 96), Exponential(), 4.0, "open", False),
    "open FFT 2-D odd": ((31, 101), Matern(nu=0.8), 1.5, "open", False),
    "open FFT 2-D narrow": ((600, 2), Exponential(), 5.0, "open", False),
    "open FFT 3-D": ((5, 8, 90), Exponential(), 1.0, "open", False),
    "open products 1-D": ((31,), SquaredExponential(), 3.0, "open", True),
    "open products 2-D": ((40, 33), SquaredExponential(), 30.0, "open", True),
    "open products 2-D stretched": ((40, 32), SquaredExponential(aspect=3, angle=20), 9.0, "open", True),
    "open products 2-D rough": ((20, 23), Matern(nu=1.5), 5.0, "open", True),
    "open products 3-D": ((8, 9, 10), SquaredExponential(), 3.0, "open", True),
}


def ids(value):
    return str(value).replace("aspect=1.0, angle=0.0", "")
