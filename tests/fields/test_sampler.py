"""The sampler: one seed, one field; every path gives the field of its modes; what is asked for wrongly is refused.

Whether the fields have the right distribution is checked in tests/statistics.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import gptex
from gptex.errors import RecipeError
from gptex.fields import (
    Exponential,
    Matern,
    PowerSpectrum,
    RationalQuadratic,
    Sampler,
    SquaredExponential,
    sample,
    spectrum,
    stream,
    superpose,
)
from gptex.fields.blas import one_blas_thread
from gptex.fields.sampler import _cached_sampler, check_shape
from gptex.fields.streams import complex_normals

from .cases import PATHS

KERNELS = [
    SquaredExponential(),
    SquaredExponential(aspect=2, angle=30),
    Exponential(),
    Matern(nu=1.5),
    Matern(nu=0.8),
    RationalQuadratic(alpha=4.0),
    PowerSpectrum(power=lambda q: np.exp(-(q**2))),
]
boundaries = pytest.mark.parametrize("boundary", ["periodic", "open"])
every_path = pytest.mark.parametrize("path", PATHS)


def sampler_of(path, dtype="float64"):
    shape, kernel, length_scale, boundary, thin = PATHS[path]
    sampler = Sampler(shape, kernel, length_scale, boundary=boundary, dtype=dtype)
    assert (sampler.products is not None) == thin, "the case no longer takes the path it is meant for"
    return sampler


def draws_of(samplers, seed=0):
    return [sampler.draw(stream(seed, i)) for i, sampler in enumerate(samplers)]


# One seed, one field


@every_path
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_bits_and_another_seed_another_field(path, dtype):
    sampler = sampler_of(path, dtype)
    field = sampler(seed=3)
    assert field.shape == PATHS[path][0]
    assert field.dtype == dtype
    assert field.flags.c_contiguous
    np.testing.assert_array_equal(sampler(seed=3), field)
    np.testing.assert_array_equal(sampler_of(path, dtype)(seed=3), field)
    assert np.abs(np.corrcoef(sampler(seed=4).ravel(), field.ravel())[0, 1]) < 0.9
    assert not (sampler(seed=4) == field).any()


@boundaries
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_float32_is_float64_to_rounding(kernel, boundary):
    single, double = (sample((24, 30), kernel, 2.5, seed=8, boundary=boundary, dtype=d) for d in ("float32", "float64"))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=2e-5)


@every_path
def test_float32_is_float64_to_rounding_on_every_path(path):
    np.testing.assert_allclose(sampler_of(path, "float32")(seed=1), sampler_of(path)(seed=1), atol=2e-5)


@boundaries
def test_bits_do_not_depend_on_the_number_of_blas_threads(boundary):
    sampler = Sampler((256, 250), "squared-exponential", 20.0, boundary=boundary)
    with threadpool_limits(1, user_api="blas"):
        one = sampler(seed=5)
    with threadpool_limits(2, user_api="blas"):
        two = sampler(seed=5)
    np.testing.assert_array_equal(one, two)


def test_sample_is_the_sampler_and_keeps_its_setup():
    arguments = ((18, 22), "matern", 2.25)
    field = sample(*arguments, seed=6, boundary="open", dtype="float64", nu=2.5)
    hits = _cached_sampler.cache_info().hits
    np.testing.assert_array_equal(sample(*arguments, seed=6, boundary="open", dtype="float64", nu=2.5), field)
    assert _cached_sampler.cache_info().hits == hits + 1
    np.testing.assert_array_equal(Sampler(*arguments, boundary="open", dtype="float64", nu=2.5)(6), field)
    np.testing.assert_array_equal(sample((18, 22), Matern(nu=2.5), 2.25, seed=6, boundary="open", dtype="float64"), field)
    assert gptex.sample is sample


@pytest.mark.parametrize("shape", [7, [7], (7,), (np.int64(7),)])
def test_shapes_are_whole_numbers_one_or_in_a_sequence(shape):
    assert check_shape(shape) == (7,)
    assert sample(shape, "exponential", 1.0, seed=0).shape == (7,)


# The field of its modes


@pytest.mark.parametrize("path", [path for path in PATHS if "products" in path])
@pytest.mark.parametrize("standardize", [False, True])
def test_thin_products_give_what_the_fft_of_the_same_modes_gives(path, standardize):
    thin, whole = sampler_of(path), sampler_of(path)
    whole.products = None
    fields = [superpose([s], [s.draw(stream(2))], standardize=standardize) for s in (thin, whole)]
    np.testing.assert_allclose(*fields, atol=1e-10)


@every_path
def test_field_is_the_sum_of_its_modes(path):
    sampler = sampler_of(path)
    amplitudes = sampler.draw(stream(9))
    torus = sampler.modes.torus
    pixel = tuple(n - 2 for n in sampler.shape)
    expected = 0.0
    for index, amplitude in np.ndenumerate(amplitudes):
        leading = [i if 2 * i < count else i - count for i, count in zip(index[:-1], amplitudes.shape, strict=False)]
        turns = sum(m * x / n for m, x, n in zip([*leading, index[-1]], pixel, torus, strict=True))
        times = 1 if index[-1] == 0 or 2 * index[-1] == torus[-1] else 2  # the negative half is implied
        expected += times * (amplitude * np.exp(2j * math.pi * turns)).real
    assert superpose([sampler], [amplitudes])[pixel] == pytest.approx(expected, abs=1e-9)


# Superposition


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_path
def test_standardized_fields_have_mean_zero_and_std_one(path, dtype):
    sampler = sampler_of(path, dtype)
    rounding = 1e-5 if dtype == "float32" else 1e-12
    for seed in range(3):
        field = superpose([sampler], draws_of([sampler], seed), standardize=True).astype(np.float64)
        assert field.mean() == pytest.approx(0, abs=rounding)
        assert field.std() == pytest.approx(1, abs=rounding)


@every_path
def test_standardizing_only_shifts_and_scales(path):
    sampler = sampler_of(path)
    plain = superpose([sampler], draws_of([sampler]))
    standardized = superpose([sampler], draws_of([sampler]), standardize=True)
    np.testing.assert_allclose(standardized, (plain - plain.mean()) / plain.std(), atol=1e-9)


MIXTURES = {
    "periodic": [("exponential", 2.0, "periodic"), ("squared-exponential", 3.0, "periodic")],
    "periodic, the wider band last": [("squared-exponential", 4.0, "periodic"), ("exponential", 2.0, "periodic")],
    "periodic, all of few modes": [("squared-exponential", 3.0, "periodic"), ("squared-exponential", 4.0, "periodic")],
    "open": [("squared-exponential", 8.0, "open"), ("exponential", 2.0, "open")],
    "both": [("squared-exponential", 8.0, "open"), ("matern", 2.0, "periodic"), ("exponential", 2.0, "open")],
    "the paper's": [("squared-exponential", 2.0, "periodic"), ("squared-exponential", 20.0, "open")],
}


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", [(28,), (24, 28), (23, 27), (8, 10, 12)], ids=str)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_superposition_is_the_weighted_sum_of_the_fields_apart(mixture, shape, standardize):
    scale = 0.3 if len(shape) == 3 else 1.0
    samplers = [Sampler(shape, k, scale * ls, boundary=b, dtype="float64") for k, ls, b in MIXTURES[mixture]]
    weights = [0.75, 1.25, -0.5][: len(samplers)]
    together = superpose(samplers, draws_of(samplers), weights, standardize)
    apart = [superpose([s], [d], standardize=standardize) for s, d in zip(samplers, draws_of(samplers), strict=True)]
    np.testing.assert_allclose(together, sum(w * f for w, f in zip(weights, apart, strict=True)), atol=1e-12)


def test_superposition_of_nothing_is_refused():
    with pytest.raises(RecipeError, match="at least one field"):
        superpose([], [])


def test_a_constant_field_cannot_be_standardized():
    sampler = Sampler((1,), "exponential", 0.3, boundary="open")
    with pytest.raises(RecipeError, match="cannot be standardized"):
        superpose([sampler], draws_of([sampler]), standardize=True)


# One BLAS thread


def run_in_threads(work, arguments):
    threads = [threading.Thread(target=work, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)


def blas_threads():
    return {(i["filepath"], i["num_threads"]) for i in threadpool_info() if i["user_api"] == "blas"}


def test_one_blas_thread_is_one_inside_and_what_it_was_outside():
    with one_blas_thread:  # loads the libraries
        pass
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with one_blas_thread:
            assert {n for _, n in blas_threads()} == {1}
            with one_blas_thread:
                pass
            assert {n for _, n in blas_threads()} == {1}
        assert blas_threads() == before
        with pytest.raises(ValueError, match="inside"), one_blas_thread:
            raise ValueError("inside")
        assert blas_threads() == before
    assert {n for _, n in before} == {2}


def test_fields_drawn_in_threads_are_those_drawn_alone():
    sampler = Sampler((64, 64), "squared-exponential", 20.0, boundary="open")
    alone = [sampler(seed) for seed in range(8)]
    found = {}

    def work(first):
        found.update({seed: sampler(seed) for seed in range(first, 8, 4)})

    run_in_threads(work, range(4))
    for seed in range(8):
        np.testing.assert_array_equal(found[seed], alone[seed])


# Errors


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (0, "at least one pixel"),
        ((8, 0), "at least one pixel"),
        ((8, -1), "at least one pixel"),
        ((), "one to three axes"),
        ((4, 4, 4, 4), "one to three axes"),
        (8.0, "whole numbers"),
        ((8, 8.5), "whole numbers"),
        ("8", "whole numbers"),
        (None, "whole numbers"),
        ((2**16, 2**16), r"at most 2\*\*31 points"),
    ],
)
def test_what_is_no_shape_is_refused(shape, message):
    with pytest.raises(RecipeError, match=message):
        Sampler(shape, "squared-exponential", 2.0)


@pytest.mark.parametrize("dtype", ["float16", "double", "complex64", "int32", None, float])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(RecipeError, match="dtype must be float32 or float64"):
        Sampler((8, 8), "squared-exponential", 2.0, dtype=dtype)


@pytest.mark.parametrize("make", [Sampler, lambda *args, **kwargs: sample(*args, seed=0, **kwargs)], ids=["Sampler", "sample"])
def test_misplaced_and_misspelt_parameters_are_refused(make):
    with pytest.raises(RecipeError, match="nu goes with a kernel's name"):
        make((8, 8), Matern(), 2.0, nu=2.5)
    with pytest.raises(RecipeError, match="matern has no parameter 'lenght'"):
        make((8, 8), "matern", 2.0, lenght=3.0)
    with pytest.raises(RecipeError, match="no parameter 'alpah': did you mean 'alpha'"):
        make((8, 8), "rational-quadratic", 2.0, alpah=2.0)
    with pytest.raises(RecipeError, match="no kernel 'matern32': did you mean 'matern'"):
        make((8, 8), "matern32", 2.0)
    with pytest.raises(RecipeError, match="boundary must be periodic or open"):
        make((8, 8), "matern", 1.0, boundary="torus")


@pytest.mark.parametrize("seed", [-1, 2**128, 1.5])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(RecipeError, match="a seed must be"):
        sample((8, 8), "squared-exponential", 1.0, seed=seed)


def test_repr_says_what_was_asked_for():
    text = repr(Sampler((8, 6), "matern", 1.5, nu=2.5, boundary="open"))
    assert all(word in text for word in ("(8, 6)", "Matern", "nu=2.5", "1.5", "'open'", "float32"))


def test_one_blas_thread_is_restored_by_the_last_of_several_threads_to_leave():
    everyone = threading.Barrier(4)
    inside, some_left = [], []

    def work(turn):
        with one_blas_thread:
            everyone.wait(timeout=20)
            inside.append({n for _, n in blas_threads()})
            for leaving in range(turn):
                left[leaving].wait(timeout=20)
                some_left.append({n for _, n in blas_threads()})
        left[turn].set()

    left = [threading.Event() for _ in range(4)]
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread:  # the main thread was here first
            pass
        before = blas_threads()
        run_in_threads(work, range(4))
        assert blas_threads() == before
    assert inside == [{1}] * 4
    assert some_left == [{1}] * 6


def test_bits_do_not_depend_on_the_number_of_blas_threads_in_a_thread_either():
    sampler = Sampler((512, 500), "squared-exponential", 140.0, boundary="open")
    with threadpool_limits(1, user_api="blas"):
        one = sampler(seed=5)
    two = []
    with threadpool_limits(2, user_api="blas"):
        run_in_threads(lambda seed: two.append(sampler(seed)), [5])
    np.testing.assert_array_equal(one, two[0])


class Undeclared(SquaredExponential):
    """A kernel whose own parameter its inherited equality does not see."""

    def __init__(self, width):
        super().__init__()
        object.__setattr__(self, "width", width)

    def correlation(self, r):
        return super().correlation(np.asarray(r) / self.width)

    def spectral_density(self, q, dim):
        return super().spectral_density(np.asarray(q) * self.width, dim) * self.width**dim

    def reach(self, level):
        return super().reach(level) * self.width

    def band_limit(self, level):
        return super().band_limit(level) / self.width


def test_kernels_that_differ_only_where_equality_does_not_look_are_not_confused():
    narrow, wide = sample(256, Undeclared(1.0), 3.0, seed=0), sample(256, Undeclared(4.0), 3.0, seed=0)
    np.testing.assert_array_equal(narrow, sample(256, "squared-exponential", 3.0, seed=0))
    np.testing.assert_allclose(wide, sample(256, "squared-exponential", 12.0, seed=0), atol=1e-5)


# Memory


@pytest.mark.parametrize("shape", [(64, 64), (63, 50), (12, 9, 10)], ids=str)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_rows_of_modes_that_mirror_others_are_kept_once_and_drawn_alike(shape, boundary):
    sampler = Sampler(shape, "matern", 1.5, nu=1.5, boundary=boundary)
    variance = spectrum(shape, sampler.kernel, 1.5, boundary, 1e-8)
    std = np.sqrt(variance.variance / variance.multiplicity).astype(np.float32)
    np.testing.assert_array_equal(sampler.draw(stream(3)), complex_normals(stream(3), std))
    products = sampler.products.nbytes if sampler.products else 0
    leading = [top + 1 for top in sampler.modes.cutoff[:-1]]
    assert sampler.nbytes - products == 4 * math.prod(leading) * std.shape[-1] + 8 * math.prod(std.shape[:-1])


@pytest.mark.parametrize("angle", [20.0, 45.0, 90.0])
def test_a_stretch_across_the_axes_mirrors_nothing(angle):
    kernel = Matern(nu=1.5, aspect=2.0, angle=angle)
    sampler, found = Sampler((32, 30), kernel, 1.5), spectrum((32, 30), kernel, 1.5, "periodic", 1e-8)
    std = np.sqrt(found.variance / found.multiplicity).astype(np.float32)
    np.testing.assert_array_equal(sampler.draw(stream(3)), complex_normals(stream(3), std))
    assert (sampler.nbytes >= std.nbytes) == (angle != 90)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_fields_drawn_when_they_are_needed_are_those_drawn_before(mixture):
    samplers = [Sampler((24, 28), k, ls, boundary=b) for k, ls, b in MIXTURES[mixture]]
    asked = []

    def draw(number):
        asked.append(number)
        return samplers[number].draw(stream(0, number))

    np.testing.assert_array_equal(superpose(samplers, draw), superpose(samplers, draws_of(samplers)))
    assert sorted(asked) == list(range(len(samplers)))
