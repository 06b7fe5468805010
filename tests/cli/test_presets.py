"""`gptex presets`: the recipes that come along."""

from gptex import preset, presets


def test_presets_are_listed_with_size_classes_and_counts(done):
    lines = done("presets").splitlines()
    assert "golkar-cranmer-2018: 1024 x 1024, 4 classes (train 100 textures)" in lines
    assert "golkar-cranmer-2018-three-scales: 1024 x 1024, 8 classes (train 200 textures)" in lines


def test_each_listed_name_is_a_preset(done):
    names = [line.partition(":")[0] for line in done("presets").splitlines()]
    assert names == presets()
    assert [preset(name).name for name in names] == names
