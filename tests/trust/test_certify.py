"""Certificates: right datasets pass, each fault fails and is named, whoever wrote the textures and however they are stored."""

from __future__ import annotations

import json
import math
import pickle
import re

import h5py
import numpy as np
import pytest

from gptex import GptexError, certify, combine, generate, import_legacy

# What is done to the images of a dataset of four classes, 64 × 64 pixels, 20 textures a class


@pytest.fixture
def four(component, recipe):
    return recipe([64, 64], component(2, 2.5, name="fine"), component(5, 6, name="coarse"), train=20)


def swapped(images, labels):
    """Labels of the classes 2-5 and 2-6."""
    first, second = np.flatnonzero(labels == 0), np.flatnonzero(labels == 2)
    images[[*first, *second]] = images[[*second, *first]]


def one_pair_swapped(images, labels):
    images[[0, 1]] = images[[1, 0]]


def half_power(images, labels):
    f = np.fft.rfft(images, axis=-1)
    f[..., [0, -1]] /= math.sqrt(2)
    images[:] = np.fft.irfft(f, axis=-1)


def half_power_of_nyquist(images, labels):
    f = np.fft.rfft(images, axis=-1)
    f[..., -1] /= math.sqrt(2)
    images[:] = np.fft.irfft(f, axis=-1)


def repeated(images, labels):
    images[8] = images[4]


def one_nan(images, labels):
    images[5, 3, 3] = np.nan


def one_constant(images, labels):
    images[6] = 1.5


def squared(images, labels):
    """Skewed, with the moments of order one and two that it had."""
    skewed = images + 0.1 * (images**2 - 2)
    images[:] = skewed * images.std() / skewed.std()


def scaled(images, labels):
    images *= 1.03


def shifted(images, labels):
    images += 0.5


def checkered(images, labels):
    """What no smooth field has: the highest wave number."""
    images += 0.02 * (-1.0) ** np.add.outer(np.arange(64), np.arange(64))


def upscaled(images, labels):
    images[:] = np.repeat(np.repeat(images[:, :32, :32], 2, axis=1), 2, axis=2)


@pytest.fixture
def changed(tmp_path):
    """Generates a recipe, lets a function change the images in its first shard, and returns the folder."""

    def change(recipe, function, split="train"):
        generate(recipe, tmp_path / "data", workers=1, progress=False)
        with h5py.File(tmp_path / "data" / split / "00000.h5", "r+") as file:
            images, labels = file["images"][:], file["labels"][:]
            function(images, labels)
            file["images"][:] = images
        return tmp_path / "data"

    return change


FAULTS = [
    (swapped, "length scale", r"class 2-[56], coarse length scale"),
    (one_pair_swapped, "label", r"texture [01] of split train, of class 2.*-5"),
    (half_power, "band", "waves of wave number 0 along axis 1"),
    (repeated, "duplicate", "texture 8 of split train is texture 4 of split train again|texture 4 .* texture 8 .* again"),
    (one_nan, "values", "texture 5 of split train has values that are not finite"),
    (one_constant, "values", "texture 6 of split train is constant"),
    (squared, "marginals", "skewness"),
    (scaled, "band", "power at"),
    (shifted, "mean", "mean of the pixels"),
    (checkered, "band", "power where there is next to none"),
    (upscaled, "band", "power where there is next to none"),
]


def named(certificate, kind, pattern):
    return [test for test in certificate.failures if test.kind == kind and re.search(pattern, test.what)]


@pytest.mark.parametrize(("fault", "kind", "pattern"), FAULTS, ids=[fault.__name__ for fault, *_ in FAULTS])
def test_each_fault_fails_and_is_named(four, changed, fault, kind, pattern):
    certificate = certify(changed(four, fault), progress=False)
    assert not certificate.passed
    assert named(certificate, kind, pattern), str(certificate)


def test_without_a_fault_the_same_dataset_passes(four, changed):
    certificate = certify(changed(four, lambda images, labels: None), progress=False)
    assert certificate.passed, str(certificate)
    assert certificate.textures == 80
    assert [report.name for report in certificate.classes] == list(four.classes)
    for report, label in zip(certificate.classes, range(4), strict=True):
        for truth, row in zip(four.length_scales(label), report.length_scales, strict=True):
            stated, found, error, smallest = row
            assert stated == truth
            assert abs(found - truth) < 4.5 * error
            assert smallest > 5 * error
        for _, measured, expected, error in report.spectrum + report.autocovariance:
            assert abs(measured - expected) < 5 * error


def test_half_power_in_the_nyquist_column_is_found_where_there_is_power(component, recipe, changed):
    rough = recipe([32, 32], component(0.6, kernel="exponential"), train=60)
    certificate = certify(changed(rough, half_power_of_nyquist), progress=False)
    assert named(certificate, "band", "Nyquist's along axis 1"), str(certificate)
    assert not named(certificate, "band", "number 0 along")


def test_a_texture_in_two_splits_is_found(component, recipe, changed):
    both = recipe([32, 32], component(2), train=3).replace(splits={"train": 3, "test": 3})
    path = changed(both, lambda images, labels: None)
    with h5py.File(path / "train" / "00000.h5") as file:
        image = file["images"][1]
    with h5py.File(path / "test" / "00000.h5", "r+") as file:
        file["images"][2] = image
    failures = certify(path, progress=False).failures
    assert len(failures) == 1
    assert set(failures[0].what.removesuffix(" again").split(" is ")) == {"texture 1 of split train", "texture 2 of split test"}


# Fields that are not what the recipe says, in memory


def test_an_open_field_that_should_be_periodic_fails(component, recipe, examine):
    periodic = recipe([32, 32], component(4), train=10)
    opened = recipe([32, 32], component(4, boundary="open"), train=10)
    assert not examine(periodic, opened).passed
    assert examine(opened).passed


def test_a_stretched_field_that_should_be_isotropic_fails(component, recipe, examine):
    isotropic = recipe([48, 48], component(4), train=20)
    stretched = recipe([48, 48], component(4, aspect=1.5, angle=30), train=20)
    assert not examine(isotropic, stretched).passed
    assert examine(stretched).passed
    assert not examine(stretched, recipe([48, 48], component(4, aspect=1.5, angle=120), train=20)).passed


def test_another_kernel_fails(component, recipe, examine):
    one, other = (component(3, kernel="matern", nu=nu) for nu in (1.5, 2.5))
    assert not examine(recipe([48, 48], one, train=10), recipe([48, 48], other)).passed


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_weights_the_other_way_round_fail(component, recipe, examine, boundary):
    def parts(a, b):
        return component(2, weight=a), component(6, name="b", weight=b, boundary=boundary)

    standardized = {"standardize": True, "train": 5}
    right = recipe([48, 48], *parts(0.75, 1.25), **standardized)
    assert examine(right).passed
    assert not examine(right, recipe([48, 48], *parts(1.25, 0.75), **standardized)).passed


def test_fields_that_should_be_standardized_and_are_not_fail(component, recipe, examine):
    right = recipe([32, 32], component(3), train=20, standardize=True)
    assert not examine(right, right.replace(standardize=False)).passed
    assert not examine(right.replace(standardize=False), right).passed


def test_noise_that_nobody_spoke_of_fails(component, recipe, examine):
    right = recipe([48, 48], component(4))
    assert not examine(right, right.replace(noise_std=0.01)).passed


RIGHT = {
    "one dimension": ([200], {}, {"train": 8}),
    "three dimensions": ([12, 10, 11], {}, {}),
    "three open dimensions": ([12, 10, 11], {"boundary": "open"}, {}),
    "one texture": ([40, 40], {}, {"train": 1}),
    "float16": ([48, 48], {}, {"dtype": "float16", "train": 40}),
    "float64": ([48, 48], {}, {"dtype": "float64"}),
    "an axis of one pixel": ([1, 64], {"boundary": "open"}, {}),
    "two pixels": ([2], {}, {}),
    "rational quadratic": ([32, 32], {"kernel": "rational-quadratic", "alpha": 3.0}, {}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_datasets_pass(name, component, recipe, examine):
    shape, parameters, more = RIGHT[name]
    scale = 0.5 if name == "two pixels" else 1.5
    certificate = examine(recipe(shape, component(scale, **parameters), **more))
    assert certificate.passed, str(certificate)
    assert certificate.tests


# Textures from elsewhere


def cholesky_draws(rng, n, scale, count):
    axis = np.arange(n)
    root = np.linalg.cholesky(np.exp(-(np.subtract.outer(axis, axis) ** 2) / 2 / scale**2) + 1e-9 * np.eye(n))
    return np.einsum("ij,njk,lk->nil", root, rng.standard_normal((count, n, n)), root)


@pytest.fixture
def imported(tmp_path):
    """Imports a pickle of textures drawn by numpy, open squared exponentials of 2 and `scale` pixels."""

    def make(scale, counts=(6, 6)):
        rng = np.random.default_rng(3)
        images = [cholesky_draws(rng, 24, *each) for each in ((2, counts[0]), (scale, counts[1]))]
        pairs = [[image, label] for label, group in enumerate(images) for image in group]
        (tmp_path / "cross.gp").write_bytes(pickle.dumps([pairs, {0: "2", 1: "3"}]))
        import_legacy(tmp_path / "cross.gp", tmp_path / "out", progress=False)
        return tmp_path / "out"

    return make


@pytest.fixture
def cross(component, recipe):
    return recipe([24, 24], component(2, 3, boundary="open"))


def test_textures_of_numpy_pass(imported, cross):
    certificate = certify(imported(3), against=cross, progress=False)
    assert certificate.passed, str(certificate)
    assert certificate.textures == 12
    assert certificate.name == "cross"


def test_textures_of_numpy_with_another_length_scale_fail(imported, cross):
    certificate = certify(imported(3.6), against=cross, progress=False)
    assert named(certificate, "length scale", "class 3, a length scale 3")
    assert {report.name: round(report.length_scales[0][1], 1) for report in certificate.classes} == {
        "2": pytest.approx(2, abs=0.2),
        "3": pytest.approx(3.3, abs=0.2),  # one step from the label towards 3.6
    }


def test_a_class_without_textures_is_left_out(imported, cross):
    certificate = certify(imported(3, counts=(5, 0)), against=cross, progress=False)
    assert [report.name for report in certificate.classes] == ["2"]
    assert certificate.passed


def test_against_may_be_a_file(imported, cross, tmp_path):
    (tmp_path / "cross.toml").write_text(cross.to_toml(), encoding="utf-8")
    assert certify(imported(3), against=tmp_path / "cross.toml", progress=False).passed


def test_textures_from_elsewhere_need_something_to_compare_with(imported, cross, component, recipe):
    path = imported(3)
    with pytest.raises(GptexError, match="has no recipe"):
        certify(path, progress=False)
    for other in (
        recipe([24, 24], component(2, 3.1, boundary="open")),
        recipe([24, 24], component(2, boundary="open")),
        recipe([24, 25], component(2, 3, boundary="open")),
    ):
        with pytest.raises(GptexError, match="another shape or other classes"):
            certify(path, against=other, progress=False)


def test_a_recipes_own_dataset_may_be_compared_with_another(component, recipe, changed):
    path = changed(recipe([32, 32], component(2)), lambda images, labels: None)
    wrong = recipe([32, 32], component(2, kernel="exponential"))
    assert certify(path, progress=False).passed
    assert not certify(path, against=wrong, progress=False).passed


def test_combined_samples_pass(tmp_path, component, recipe):
    """Samples of one length scale, drawn by numpy, weighted and added."""
    rng = np.random.default_rng(5)
    (tmp_path / "samples").mkdir()
    for scale in (2, 3, 5):
        for number, field in enumerate(cholesky_draws(rng, 32, scale, 6)):
            np.save(tmp_path / "samples" / f"final_size-32_corr-{scale}_v{number}.npy", field)
    import_legacy(tmp_path / "samples", tmp_path / "imported", progress=False)
    combine(tmp_path / "imported", tmp_path / "out", scales=[[2, 3], [5]], weights=[0.75, 1.25], progress=False)
    parts = component(2, 3, name="fine", weight=0.75, boundary="open"), component(5, weight=1.25, boundary="open")
    right = recipe([32, 32], *parts)
    certificate = certify(tmp_path / "out", against=right, progress=False)
    assert certificate.passed, str(certificate)
    other = recipe([32, 32], *(part.model_copy(update={"weight": 1.0}) for part in parts))
    assert not certify(tmp_path / "out", against=other, progress=False).passed


# The call itself


def test_limit_and_splits(component, recipe, changed):
    several = recipe([32, 32], component(2, 3)).replace(splits={"train": 6, "val": 2, "test": 1})
    path = changed(several, lambda images, labels: None)
    everything = certify(path, progress=False)
    assert everything.textures == 18
    assert [report.textures for report in everything.classes] == [9, 9]
    some = certify(path, limit=4, progress=False)
    assert [report.textures for report in some.classes] == [4, 4]
    assert everything.passed
    assert some.passed
    assert some.classes[0].length_scales[0][2] > everything.classes[0].length_scales[0][2]


@pytest.mark.parametrize("wrong", [{"false_alarm": 0}, {"false_alarm": 1}, {"false_alarm": math.nan}, {"limit": 0}])
def test_values_out_of_range_are_refused(wrong, tmp_path):
    with pytest.raises(GptexError, match=r"between 0 and 1|at least one texture"):
        certify(tmp_path, **wrong)


def test_progress_is_silent_if_told_so(component, recipe, changed, capsys):
    path = changed(recipe([16, 16], component(2)), lambda images, labels: None)
    capsys.readouterr()
    certify(path, progress=False)
    assert capsys.readouterr() == ("", "")
    certify(path)
    assert "certify: 5/5" in capsys.readouterr().err


def strict(text):
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_json_is_json_also_where_something_is_not_finite(component, recipe, changed):
    path = changed(recipe([16, 16], component(2), component(4, name="b", weight=0)), one_nan_of_16)
    certificate = certify(path, progress=False)
    found = strict(certificate.to_json())
    assert found["passed"] is False
    assert found["level"] == pytest.approx(1e-3 / len(certificate.tests))
    (fault,) = [test for test in found["tests"] if test["kind"] == "values"]
    assert (fault["measured"], fault["p"]) == (None, 0)
    assert found["classes"][0]["length_scales"][1][:2] == [4, None]
    assert "values that are not finite" in str(certificate)


def one_nan_of_16(images, labels):
    images[0, 0, 0] = np.inf


def test_a_certificate_is_the_same_each_time(component, recipe, changed):
    path = changed(recipe([16, 16], component(2, 3), standardize=True), lambda images, labels: None)
    assert certify(path, progress=False).to_json() == certify(path, progress=False).to_json()


def test_the_table_says_what_was_found(four, examine):
    text = str(examine(four.replace(splits={"train": 3})))
    assert text.startswith("small: 12 textures in 4 classes\n")
    assert "smallest deviation that 99 in 100 show" in text
    assert "so that a right dataset fails once in 1,000" in text
    assert [line.split()[0] for line in text.splitlines()[3:7]] == list(four.classes)
