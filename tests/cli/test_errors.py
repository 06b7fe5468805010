"""Bad input ends in one clear line and exit code 1, or 2 for usage, and nothing that was there is lost."""

import json
import os
import shutil
import subprocess
import sys

import pytest

NEW = ["generate", "out", "--size", "64", "--per-class", "1"]

# -- recipes that make no sense: nothing is written


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--scales -3", "length_scales"),
        ("--scales 2,0", "length_scales"),
        ("--scales 2,nan", "length_scales"),
        ("--scales 1000", "at most"),
        ("--scales 1e6 --boundary open", "at most"),
        ("--scales 0.001", "below a pixel"),
        ("--scales 2 --kernel mattern", "did you mean 'matern'?"),
        ("--scales 2 --boundary opne", "'periodic' or 'open'"),
        ("--scales 2 --seed -1", "2**128"),
        ("--scales 2 --per-class 0", "train"),
        ("--scales 2 --size 0", "pixel"),
    ],
)
def test_a_recipe_that_cannot_be_honoured_is_refused_before_anything_is_written(options, says, refused, tmp_path):
    assert says in refused(*NEW, *options.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("lenght_scales", "length_scales"), ("dtyp", "dtype")],
)
def test_a_misspelt_key_in_a_recipes_file_is_answered_with_the_right_one(wrong, right, refused, dataset, tmp_path):
    text = (dataset / "recipe.toml").read_text()
    assert right in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(right, wrong))
    line = refused("generate", "out", "--recipe", path)
    assert str(path) in line
    assert f"did you mean '{right}'?" in line
    assert not (tmp_path / "out").exists()


def test_a_recipes_file_that_is_missing_or_no_recipe_is_named(refused, tmp_path):
    (tmp_path / "text.toml").write_text("hello")
    for name in ("missing.toml", "text.toml"):
        assert name in refused("generate", "out", "--recipe", name)


def test_a_misspelt_preset_is_answered_with_the_right_one(refused):
    assert "did you mean 'golkar-cranmer-2018'?" in refused("generate", "out", "--preset", "golkar-cranmer-218")


# -- usage


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "Missing argument 'OUT'"),
        ("out", "--preset, --recipe, or --size"),
        ("out --preset a --recipe b", "not --preset and --recipe"),
        ("out --preset a --size 64 --scales 2", "not --preset and --size"),
        ("out --scales 2", "--size"),
        ("out --size 64", "--scales"),
        ("out --size 64 --scales 9.5;10", "--scales"),
        ("out --size 64 --scales two", "--scales"),
        ("out --size 64 --scales 9.5,,10", "--scales"),
        ("out --size 64x --scales 2", "--size"),
        ("out --size 4x4x4x4 --scales 2", "--size"),
        ("out --size -64 --scales 2", "--size"),
        ("out --preset a --weights 2", "--weights"),
        ("out --preset a --nu 0", "--nu"),
        ("out --recipe a --scales 2", "--scales"),
        ("out --size 64 --scales 2 --scales 3 --weights 1,2,3", "--weights has 3 values for 2 components"),
        ("out --size 64 --scales 2 --kernel matern --kernel matern", "--kernel has 2 values for 1 components"),
        ("out --size 64 --scales 2 --nu 1", "--nu goes with --kernel matern"),
        ("out --size 64 --scales 2 --per-class 1 --split test=1", "--per-class and --split"),
        ("out --size 64 --scales 2 --split train=1 --split train=2", "train"),
        ("out --size 64 --scales 2 --split train", "--split"),
        ("out --size 64 --scales 2 --split train=x", "--split"),
        ("out --size 64 --scales 2 --per-class many", "--per-class"),
        ("out --size 64 --scales 2 --seed 1.5", "--seed"),
        ("out --size 64 --scales 2 --shard-size big", "--shard-size"),
        ("out --size 64 --scales 2 --shard-size 0", "--shard-size"),
        ("out --size 64 --scales 2 --shard-size " + 400 * "9", "--shard-size"),
        ("out --size 64 --scales 2 --compression zip", "--compression"),
        ("out --size 64 --scales 2 --workers 0", "--workers"),
        ("out --size 64 --scales 2 --per-clas 1", "--per-clas"),
    ],
)
def test_options_that_do_not_go_together_or_do_not_parse_are_usage_errors(arguments, says, refused, tmp_path):
    assert says in refused("generate", *arguments.split(), code=2)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_a_usage_error(refused):
    assert "'generat'" in refused("generat", code=2)


# -- folders


def damage(dataset, key, value):
    """Change one entry of a manifest."""
    path = dataset / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


@pytest.mark.parametrize(("command", "finished"), [("generate", True), ("generate", False), ("plan", True)])
def test_a_folder_of_another_recipe_is_refused(command, finished, refused, small, dataset, contents):
    if not finished:
        (dataset / "manifest.json").unlink()
    before = contents(dataset)
    line = refused(command, dataset, *small(), "--seed", "8")
    assert "seed" in line
    assert "--overwrite" in line
    assert contents(dataset) == before


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_fewer_textures_than_there_are_is_refused(command, refused, dataset, small, contents):
    before = contents(dataset)
    assert "split 'train'" in refused(command, dataset, *small(train=1))
    assert contents(dataset) == before


@pytest.mark.parametrize("command", ["generate", "plan"])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["keeping", "overwrite"])
def test_a_folder_that_holds_something_else_is_refused(command, overwrite, refused, small, tmp_path, contents):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    before = contents(tmp_path)
    assert "thesis.tex" in refused(command, "out", *small(), *overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["generate", "plan"])
@pytest.mark.parametrize("where", ["a file", "a file/below"])
def test_a_file_in_place_of_a_folder_is_refused(command, where, refused, small, tmp_path, contents):
    (tmp_path / "a file").write_text("mine")
    before = contents(tmp_path)
    assert "a file" in refused(command, where, *small())
    assert contents(tmp_path) == before


@pytest.mark.parametrize("where", ["", "new"])
def test_a_read_only_folder_is_refused(where, refused, small, tmp_path, obey_permissions):
    folder = tmp_path / "read only"
    folder.mkdir()
    folder.chmod(0o555)
    assert "ermission denied" in refused("generate", folder / where, *small(), **obey_permissions)
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


def test_a_disk_too_small_is_refused_before_anything_is_written(refused, small, tmp_path):
    per_class = 2 * shutil.disk_usage(tmp_path).total // (2 * 64 * 64 * 4)
    line = refused("generate", "out", *small(train=per_class), "--shard-size", "100GB")
    assert "the disk is too small" in line
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_half_written(refused, small, dataset, contents):
    """A limit on the size of a file stands in for the full disk."""
    resource = pytest.importorskip("resource")
    before = contents(dataset)
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))}
    line = refused("generate", dataset, *small(train=4), "--quiet", **limit)
    assert "cannot write" in line
    changed = {name for name, digest in contents(dataset).items() if before.get(name) != digest}
    assert changed == {"recipe.toml"}  # which says what is being made
    assert set(before) == set(contents(dataset))


@pytest.mark.parametrize(
    ("command", "name"),
    [("info", "missing"), ("info", "a file"), ("verify", "empty"), ("repair", "missing"), ("repair", "empty")],
)
def test_what_is_no_dataset_is_named_and_left_alone(command, name, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("mine")
    assert name in refused(command, name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a file", "empty"]


@pytest.mark.parametrize("text", ["", '{"format": 1', "[]", "{}"], ids=ascii)
def test_a_manifest_that_is_none_is_named(text, refused, dataset, contents):
    (dataset / "manifest.json").write_text(text, encoding="utf-8")
    before = contents(dataset)
    assert "manifest.json" in refused("verify", dataset)
    assert contents(dataset) == before


@pytest.mark.parametrize("command", ["info", "repair", "generate", "preview"])
def test_every_command_names_a_manifest_that_is_not_json(command, refused, small, dataset, contents):
    (dataset / "manifest.json").write_text("not json")
    before = contents(dataset)
    more = {"generate": small(), "plan": small(), "preview": ["-o", "picture.png"]}.get(command, [])
    assert "manifest.json is not JSON" in refused(command, dataset, *more)
    assert contents(dataset) == before


@pytest.mark.parametrize("command", ["info", "verify", "repair", "generate", "preview"])
def test_every_command_refuses_a_manifest_of_a_future_format(command, refused, small, dataset, contents):
    damage(dataset, "format", 2)
    before = contents(dataset)
    more = {"generate": small(), "plan": small(), "preview": ["-o", "picture.png"]}.get(command, [])
    assert "upgrade gptex" in refused(command, dataset, *more)
    assert contents(dataset) == before


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("info", "losses", {}),
        ("info", "losses", {"component-1": {}, "component-2": {}}),
        ("info", "recipe", {}),
        ("info", "recipe", {"splits": {}}),
        ("info", "recipe", {"self": 1}),
        ("info", "shards", [{"file": "../../etc/passwd"}]),
        ("verify", "classes", ["2-8"]),
        ("verify", "splits", {}),
        ("verify", "shards", []),
    ],
)
def test_a_manifest_with_a_wrong_part_is_named(command, key, value, refused, dataset, contents):
    damage(dataset, key, value)
    before = contents(dataset)
    assert "manifest.json" in refused(command, dataset)
    assert contents(dataset) == before


@pytest.mark.parametrize("bad", ["missing", "cut short"])
def test_a_preview_of_a_bad_shard_says_how_to_mend_it(bad, refused, dataset, tmp_path):
    shard = dataset / "train" / "00000.h5"
    shard.write_bytes(shard.read_bytes()[:-1000])
    if bad == "missing":
        shard.unlink()
    line = refused("preview", dataset, "-o", "picture.png")
    assert str(shard) in line
    assert "gptex repair" in line
    assert not (tmp_path / "picture.png").exists()


# -- pictures and output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("nowhere -o picture.png", "golkar-cranmer-2018"),
        ("{dataset} -o nowhere/picture.png", "nowhere/picture.png"),
        ("{dataset} -o picture.xyz", "picture.xyz"),
        ("{dataset} -o picture", "such as .png"),
        ("{dataset} -o picture.png --split val", "there are train, test"),
        ("{dataset} -o picture.png --dpi 1000000", "too large"),
    ],
)
def test_a_preview_that_cannot_be_drawn_is_refused(arguments, says, refused, dataset, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert says in refused("preview", *(part.format(dataset=dataset) for part in arguments.split()))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [([], "--output"), (["-o", "x.png", "--columns", "0"], "--columns"), (["-o", "x.png", "--dpi", "0"], "--dpi")],
    ids=["output", "columns", "dpi"],
)
def test_a_preview_without_an_output_or_columns_is_a_usage_error(options, named, refused, dataset, tmp_path):
    assert named in refused("preview", dataset, *options, code=2)
    assert not (tmp_path / "x.png").exists()


def test_a_preview_without_matplotlib_names_the_extra(refused, dataset, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    line = refused("preview", dataset, "-o", "picture.png", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert "gptex[plot]" in line


def test_a_preview_below_a_folder_that_cannot_be_read_is_one_line(refused, dataset, tmp_path, obey_permissions):
    closed = tmp_path / "closed"
    closed.mkdir()
    shutil.move(dataset, closed / "textures")
    closed.chmod(0)
    try:
        line = refused("preview", closed / "textures", "-o", "picture.png", **obey_permissions)
    finally:
        closed.chmod(0o755)
    assert str(closed) in line
    assert "ermission denied" in line


@pytest.mark.parametrize("files", [7, 10, 12, 16])
def test_too_few_open_files_are_one_line(files, gptex, small, tmp_path):
    """Where the limit allows the start at all; it may also be enough."""
    resource = pytest.importorskip("resource")
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))}
    result = gptex("generate", "out", *small(), "--quiet", **limit)
    assert "Traceback" not in result.stderr
    if result.returncode:
        assert result.returncode == 1
        assert result.stderr.startswith("gptex: ")
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")
@pytest.mark.parametrize("command", ["generate", "plan"])
def test_too_little_memory_is_one_line(command, refused, tmp_path):
    resource = pytest.importorskip("resource")
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))}
    big = ["--size", "12000", "--scales", "2", "--per-class", "1", "--workers", "1"]
    assert "out of memory" in refused(command, "out", *big, **limit)
    assert not [*tmp_path.rglob("*.h5"), *tmp_path.rglob("manifest.json")]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line(command):
    with open("/dev/full", "w") as full:
        result = subprocess.run([command, "presets"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("stream", [1, 2], ids=["stdout", "stderr"])
def test_a_closed_output_is_no_error(stream, gptex, small, tmp_path):
    result = gptex(
        "generate", "out", *small(), preexec_fn=lambda: os.close(stream), stdout=None, stderr=None, capture_output=False
    )
    assert result.returncode == 0
    assert (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_an_absurd_number_of_textures_is_refused_at_once(command, refused, tmp_path):
    assert "shards" in refused(command, "out", "--size", "64", "--scales", "2,3", "--split", "train=549755813887")
    assert list(tmp_path.iterdir()) == []


def test_one_pixel_cannot_be_standardized(refused, tmp_path):
    line = refused(
        "generate", "out", "--size", "1x1", "--scales", "3", "--boundary", "open", "--standardize", "--per-class", "1"
    )
    assert "one pixel" in line
    assert list(tmp_path.iterdir()) == []
