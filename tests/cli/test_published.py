"""`gptex import`, `combine` and `fetch` as their users run them: reports, refusals, and what others say of the result."""

import hashlib
import json
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from ..published.files import npy, zip_of
from ..published.server import Server

NAME = "GP_9.5-10+80-140.gp"
TABLE = {0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"}


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(10, 64, 64)).astype("f4")


@pytest.fixture
def pairs(images):
    return [[image, n % 4] for n, image in enumerate(images)]


@pytest.fixture
def crosses(pairs, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(pickle.dumps([pairs, TABLE], 3))
    return path


@pytest.fixture
def brought(crosses, done, tmp_path):
    """A dataset of ten imported images, in a folder with an awkward name."""
    folder = tmp_path / "größe ℓ, 64 pixels"
    done("import", crosses, "-o", folder, "--quiet")
    return folder


@pytest.fixture
def samples(tmp_path, done):
    """A dataset of samples, three of each length scale but two of 140."""
    rng = np.random.default_rng(1)
    counts = {9.5: 3, 10: 3, 80: 3, 140: 2}
    members = {
        f"final_size-32_corr-{scale}_v{n + 1}.npy": npy(rng.normal(size=(32, 32)))
        for scale in counts
        for n in range(counts[scale])
    }
    done("import", zip_of(tmp_path / "samples.zip", members), "-o", "samples")
    return tmp_path / "samples"


# Reports


def test_import_reports_what_was_accepted_and_left_out(crosses, gptex, tmp_path):
    archive = zip_of(tmp_path / "data.zip", {f"a/{NAME}": crosses.read_bytes(), "a/readme": "x", "__MACOSX/a/._x": "x"})
    result = gptex("import", archive, "-o", "out", "--name", "the published ones")
    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "out: 10 textures of 64 x 64 float32, " + f"{(tmp_path / 'out/train/00000.h5').stat().st_size / 1000:.0f} kB",
        "train:",
        "  label 0: 3 textures of 9.5 and 80 pixels",
        "  label 1: 3 textures of 10 and 80 pixels",
        "  label 2: 2 textures of 9.5 and 140 pixels",
        "  label 3: 2 textures of 10 and 140 pixels",
        "left out: a/readme",
    ]
    assert "10/10 textures" in result.stderr
    assert "the published ones" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_import_is_quiet_if_asked(crosses, gptex):
    result = gptex("import", crosses, "-o", "out", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_combine_reports_the_new_dataset(samples, done, tmp_path):
    report = done("combine", samples, "--scales", "9.5,10", "--scales", "80,140", "--weights", "0.75,1.25", "-o", "out")
    assert report.splitlines()[1:] == [
        "train:",
        "  label 0: 1 texture of 9.5 and 80 pixels",
        "  label 1: 1 texture of 10 and 80 pixels",
        "  label 2: 1 texture of 9.5 and 140 pixels",
        "  label 3: 1 texture of 10 and 140 pixels",
    ]
    with h5py.File(tmp_path / "out/train/00000.h5") as out, h5py.File(samples / "train/00000.h5") as file:
        fields = file["images"][()]  # three of 9.5, three of 10, three of 80, two of 140
        expected = [0.75 * fields[a] + 1.25 * fields[b] for a, b in ((0, 6), (3, 7), (1, 9), (4, 10))]
        np.testing.assert_array_equal(out["images"][()], np.array(expected).astype("f4"))


def test_fetch_lists_what_is_published(done):
    lines = done("fetch", "--list").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["golkar-cranmer-2018", "golkar-cranmer-2018-samples"]
    assert "386.0 MB" in lines[0]
    assert "doi:10.5281/zenodo.1252464" in lines[0]


def test_fetch_without_a_name_is_a_usage_error(refused):
    assert "golkar-cranmer-2018" in refused("fetch", code=2)


# What other commands say of such a dataset


def test_info_tells_counts_and_source(brought, done):
    told = done("info", brought)
    for part in (
        "10: train 10 (3, 3, 2, 2 per class)",
        "4: 9.5-80, 10-80, 9.5-140, 10-140",
        f"file       {NAME}",
        "64 x 64 float32",
    ):
        assert part in told
    data = json.loads(done("info", brought, "--json"))
    assert data["source"]["class_scales"] == [[9.5, 80], [10, 80], [9.5, 140], [10, 140]]
    assert data["textures"] == 10


def test_what_others_wrote_into_a_manifest_is_told_on_one_line(brought, done):
    path = brought / "manifest.json"
    data = json.loads(path.read_bytes())
    data["source"]["origin"] = {"left_out": 5, "note\n": "\x1b[2J\nname  evil", "deep": [[["\r"]]]}
    path.write_text(json.dumps(data), encoding="utf-8")
    told = done("info", brought)
    assert all(line.isprintable() for line in told.splitlines())
    assert r"\x1b[2J\nname  evil" in told


def test_preview_draws_it(brought, done, tmp_path):
    done("preview", brought, "-o", "picture.png", "--columns", "2")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_verify_and_repair_find_it_right(brought, done, contents):
    before = contents(brought)
    assert done("verify", brought) == "1 shard, all right\n"
    assert done("repair", brought) == "1 shard, all right; nothing to repair\n"
    assert contents(brought) == before


def test_verify_and_repair_of_a_damaged_one_say_to_bring_it_again(brought, gptex, refused, contents):
    shard = brought / "train/00000.h5"
    shard.write_bytes(shard.read_bytes()[:-100])
    before = contents(brought)
    found = gptex("verify", brought)
    assert found.returncode == 1
    assert "cut short" in found.stdout
    assert "fetch, import or combine the dataset again" in found.stderr
    assert "delete the folder and fetch, import or combine them again" in refused("repair", brought, "--quiet")
    assert contents(brought) == before


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_generate_leaves_it_alone(overwrite, brought, refused, contents):
    before = contents(brought)
    refused("generate", brought, "--size", "64", "--scales", "3", "--per-class", "1", "--quiet", *overwrite)
    assert contents(brought) == before


def test_import_and_combine_leave_a_dataset_alone(brought, crosses, samples, refused, contents):
    before = contents(brought)
    for command in (["import", crosses], ["combine", samples, "--scales", "9.5"]):
        line = refused(*command, "-o", brought, "--quiet")
        assert line.endswith(f"{brought} holds something: choose a new or empty folder")
    assert contents(brought) == before


# Where it goes


def test_the_place_is_a_file_or_below_one(crosses, refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is no folder" in refused("import", crosses, "-o", "file", "--quiet")
    assert "cannot write" in refused("import", crosses, "-o", "file/out", "--quiet")
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == [NAME, "file"]


def test_the_place_may_not_be_written(crosses, refused, obey_permissions, tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o555)
    line = refused("import", crosses, "-o", parent / "out", "--quiet", **obey_permissions)
    assert "cannot write" in line
    assert "Permission denied" in line
    assert names(parent) == []


def test_an_empty_folder_where_nothing_else_may_be_written_is_enough(crosses, gptex, done, obey_permissions, tmp_path):
    out = tmp_path / "parent" / "out"
    out.mkdir(parents=True)
    out.parent.chmod(0o555)
    result = gptex("import", crosses, "-o", out, "--quiet", **obey_permissions)
    out.parent.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert done("verify", out) == "1 shard, all right\n"


def test_the_current_folder_stays_the_current_one(crosses, done, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    script = 'cd "$1" && "$2" import "$3" -o . --quiet && ls'
    command = ["sh", "-c", script, "sh", here, shutil.which("gptex", path=str(sys.executable).rpartition("/")[0]), crosses]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert listed.split() == ["README.md", "manifest.json", "train"]


def test_a_link_to_an_empty_folder_leads_there(crosses, done, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    done("import", crosses, "-o", "link", "--quiet")
    assert (tmp_path / "link").is_symlink()
    assert done("verify", "disk") == "1 shard, all right\n"


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_is_too_small_is_noticed_before_it_is_full(images, pairs, refused, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(pickle.dumps([[[image + n, 0] for n in range(10) for image in images], {0: "9.5"}]))
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        for out in (disk / "out", disk):
            line = refused("import", path, "-o", out, "--quiet")
            assert "the disk is too small" in line
            assert "needs 1.7" in line
            assert names(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


# What is refused: one line, exit code 1, and nothing written


class Reduce:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(name, pairs):
    """Bytes of a pickle that does harm if it is run: it makes the file `marker`."""
    import os

    calls = {
        "os.system": Reduce(os.system, "touch marker"),
        "builtins.eval": Reduce(eval, "open('marker', 'w')"),
        "numpy.load": Reduce(np.load, "evil.npy", None, True),
        "numpy's memmap": Reduce(np.memmap, "marker", "uint8", "w+"),
        "numpy.fromfile": Reduce(np.fromfile, "marker"),
    }
    if name == "nested":
        return pickle.dumps([[*pairs[:3], [pairs[3][0], {0: [(Reduce(os.system, "touch marker"),)]}]], TABLE])
    if name == "in the table":
        return pickle.dumps([pairs, {**TABLE, 4: Reduce(os.system, "touch marker")}])
    return pickle.dumps([[*pairs, [calls[name], 0]], TABLE])


HOSTILE = ["os.system", "builtins.eval", "numpy.load", "numpy's memmap", "numpy.fromfile", "nested", "in the table"]


@pytest.mark.parametrize(("name", "packed"), [*((name, False) for name in HOSTILE), ("os.system", True)])
def test_a_malicious_pickle_is_refused(name, packed, pairs, refused, tmp_path):
    path, data = tmp_path / NAME, hostile(name, pairs)
    if packed:
        zip_of(path, {f"data/{NAME}": data})
    else:
        path.write_bytes(data)
    line = refused("import", path, "-o", "out", "--quiet")
    assert "it may be malicious, and nothing of it was run" in line
    assert names(tmp_path) == [NAME]


def bad_archive(kind, good, path):
    """An archive that is not to be trusted."""
    members = {
        "bomb": {"a.gp": bytes(30_000_000)},
        "traversal": {"a.gp": good, "../evil.txt": "x"},
        "absolute": {"/tmp/evil.gp": good},
        "traversal to the images": {"../a.gp": good},
    }
    if kind == "link":
        info = zipfile.ZipInfo("a.gp")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, "/etc/passwd")
    elif kind == "overlap":
        zip_of(path, {"0.gp": good})
        data = path.read_bytes()
        start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
        entries = b"".join(data[start:end].replace(b"0.gp", b"%d.gp" % n) for n in range(10))
        path.write_bytes(data[:start] + entries + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 10, 10, len(entries), start, 0))
    else:
        zip_of(path, members[kind])
    return path


BAD = {
    "bomb": "more than 100 times its size",
    "traversal": "leads out of its folder",
    "traversal to the images": "leads out of its folder",
    "absolute": "absolute path",
    "link": "link",
    "overlap": "overlap",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_malicious_archive_is_refused(kind, crosses, refused, tmp_path):
    path = bad_archive(kind, crosses.read_bytes(), tmp_path / "bad.zip")
    assert BAD[kind] in refused("import", path, "-o", "out", "--quiet")
    assert names(tmp_path) == [NAME, "bad.zip"]


@pytest.fixture
def fetch_from(tmp_path, monkeypatch, refused):
    """Runs `gptex fetch` on a source.toml of a file, which a server sends; it must be refused, and makes no dataset."""

    def run(data):
        monkeypatch.setenv("GPTEX_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with Server() as server:
            server.files["/x"] = data
            (tmp_path / "evil.toml").write_text(
                f'title = "x"\nurl = "{server.url("/x")}"\nfile = "x.zip"\nsize = {len(data)}\n'
                f'sha256 = "{hashlib.sha256(data).hexdigest()}"\n'
            )
            line = refused("fetch", "evil.toml", "--to", "out", "--quiet")
        kept = [name for name in names(tmp_path / "cache") if not name.startswith(".")]
        assert kept == ["archives", "archives/evil", "archives/evil/x.zip"]
        assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".zip") == ["cache", "evil.toml"]
        return line

    return run


@pytest.mark.parametrize("name", ["os.system", "in the table"])
def test_a_malicious_pickle_that_was_fetched_is_refused(name, pairs, fetch_from):
    assert "it may be malicious, and nothing of it was run" in fetch_from(hostile(name, pairs))


@pytest.mark.parametrize("kind", ["bomb", "traversal"])
def test_a_malicious_archive_that_was_fetched_is_refused(kind, pairs, fetch_from, tmp_path):
    path = bad_archive(kind, pickle.dumps([pairs, TABLE]), tmp_path / "made.zip")
    assert BAD[kind] in fetch_from(path.read_bytes())


def test_a_bad_image_is_named_by_its_number(images, refused, tmp_path):
    many = [images[0] + n for n in range(60)]
    many[57][3, 4] = np.nan
    (tmp_path / NAME).write_bytes(pickle.dumps([[[image, 0] for image in many], {0: "9.5"}]))
    assert "image 57 has values that are not finite" in refused("import", NAME, "-o", "out", "--quiet")
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scales", "9.5,11"], "no samples of length scale 11: there are 9.5, 10, 80, 140"),
        (["--scales", "9.5,10", "--scales", "80,140", "--weights", "1"], "1 weights for 2 components"),
        (["--scales", "9.5", "--split", "val"], "no split 'val'"),
        (["--scales", "9.5", "--dtype", "int8"], "dtype"),
    ],
)
def test_combine_refuses_in_one_line(arguments, says, samples, refused, tmp_path):
    assert says in refused("combine", samples, *arguments, "-o", "out", "--quiet")
    assert names(tmp_path)[0] == "samples"
    assert not [name for name in names(tmp_path) if "out" in name]


def test_combine_takes_numbers(refused):
    assert "is not a list of numbers" in refused("combine", "samples", "--scales", "9.5,,10", "-o", "out", code=2)
