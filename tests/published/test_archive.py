"""Archives: what leads out of its folder, bursts, or lies is refused whole, before anything of it is used."""

from __future__ import annotations

import stat
import struct
import zipfile

import pytest

from gptex.errors import DatasetError
from gptex.published import archive as module
from gptex.published import open_legacy
from gptex.published.archive import open_archive, readable


def refusal(path):
    """The one line in which the archive at `path` is refused; nothing is written."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(DatasetError) as error, open_archive(path):
        pass
    line = str(error.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert sorted(path.parent.rglob("*")) == before
    with pytest.raises(DatasetError), open_legacy(path):
        pass
    return line


def zip_of(path, *members):
    """A deflated archive of (name or ZipInfo, bytes), the names exactly as given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = name
            if isinstance(name, str):
                info = zipfile.ZipInfo("x")
                info.filename = name
                info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def with_mode(name, mode, system=3):
    info = zipfile.ZipInfo(name)
    info.create_system = system
    info.external_attr = mode << 16
    return info


def directory_field(path, offset, value):
    """Overwrite a field of the only member's entry in the directory; for the sizes and flags also in its own header."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(data)
    return path


def test_members_are_read_as_streams_without_folders_and_litter(tmp_path):
    members = {
        "data/": b"",
        "data/deep/a.gp": b"one",
        "./b.npy": b"two",
        "Ψ’ 9.5.txt": b"three",
        "__MACOSX/data/deep/._a.gp": b"x",
        "__MACOSX/c.gp": b"x",
        "data/.DS_Store": b"x",
        "data/._d.gp": b"x",
    }
    path = zip_of(tmp_path / "good.zip", *members.items())
    with open_archive(path) as files:
        assert sorted(files) == sorted(["data/deep/a.gp", "./b.npy", "Ψ’ 9.5.txt"])
        for name, opener in files.items():
            with opener() as file:
                assert file.read() == members[name]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil.gp", "leads out"),
        ("data/../../evil.gp", "leads out"),
        ("data/..", "leads out"),
        ("__MACOSX/../../evil.gp", "leads out"),
        ("/etc/evil.gp", "absolute"),
        ("//host/share/evil.gp", "absolute"),
        ("C:/evil.gp", "drive letter"),
        ("c:evil.gp", "drive letter"),
        ("..\\evil.gp", "backslash"),
        ("data\\evil.gp", "backslash"),
        ("\\\\host\\evil.gp", "backslash"),
        ("other.gp\x00.txt", "control characters"),
        ("two\nlines.gp", "control characters"),
        ("\x1b[2Jevil.gp", "control characters"),
        ("", "no name"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, says, tmp_path):
    line = refusal(zip_of(tmp_path / "evil.zip", ("good.gp", b"x"), (name, b"x")))
    assert says in line
    assert repr(name) in line


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
@pytest.mark.parametrize("system", [3, 0, 19])
def test_links_and_devices_are_refused(kind, system, tmp_path):
    assert "is a link" in refusal(zip_of(tmp_path / "link.zip", (with_mode("a.gp", kind | 0o777, system), b"/etc/passwd")))


def test_usual_modes_are_no_links(tmp_path):
    members = [(with_mode("a.gp", stat.S_IFREG | 0o644), b"x"), (with_mode("b/", stat.S_IFDIR | 0o755), b"")]
    with open_archive(zip_of(tmp_path / "modes.zip", *members, (with_mode("c.gp", 0), b"x"))) as files:
        assert list(files) == ["a.gp", "c.gp"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.gp", "a.gp"),
        ("a.gp", "A.GP"),
        ("data/a.gp", "Data/a.gp"),
        ("a.gp", "./a.gp"),
        ("data/a.gp", "data//a.gp"),
        ("data", "data/"),
        ("straße.gp", "STRASSE.gp"),
        ("é.gp", "e\u0301.gp"),
    ],
)
def test_names_that_stand_twice_are_refused(first, second, tmp_path):
    assert "stands twice" in refusal(zip_of(tmp_path / "twice.zip", (first, b"x"), (second, b"y")))


def test_a_bomb_is_refused_by_its_ratio(tmp_path):
    path = zip_of(tmp_path / "bomb.zip", ("a.gp", bytes(50_000_000)))
    assert path.stat().st_size < 60_000
    assert "more than 100 times its size" in refusal(path)


def test_a_bomb_that_claims_to_be_small_gives_no_more_than_it_claims(tmp_path):
    path = zip_of(tmp_path / "bomb.zip", ("a.gp", bytes(50_000_000)))
    directory_field(path, 24, struct.pack("<I", 1000))
    taken = []
    says = r"bomb: a\.gp is damaged: Bad CRC"
    with open_archive(path) as files, files["a.gp"]() as file, pytest.raises(DatasetError, match=says), readable("bomb: a.gp"):
        taken.extend(iter(lambda: file.read(300), b""))
    assert sum(map(len, taken)) <= 1000
    with pytest.raises(DatasetError, match=r"a\.gp"), open_legacy(path):
        pass


def test_a_bomb_that_claims_to_be_packed_loosely_is_refused(tmp_path):
    path = zip_of(tmp_path / "bomb.zip", ("a.gp", bytes(50_000_000)))
    directory_field(path, 20, struct.pack("<I", 40_000_000))
    assert "overlap" in refusal(path)


def test_members_that_share_their_bytes_are_refused(tmp_path):
    """The directory lists one member's bytes under ten names."""
    path = zip_of(tmp_path / "bomb.zip", ("0.gp", bytes(range(256)) * 10))
    data = path.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(data[start:end].replace(b"0.gp", b"%d.gp" % n) for n in range(10))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 10, 10, len(entries), start, 0)
    path.write_bytes(data[:start] + entries + tail)
    assert "overlap" in refusal(path)


def test_limits_hold_on_count_and_total_size(tmp_path, monkeypatch):
    path = zip_of(tmp_path / "large.zip", *((f"{n}.npy", b"12345") for n in range(8)))
    monkeypatch.setattr(module, "MAX_MEMBERS", 7)
    assert "8 members" in refusal(path)
    monkeypatch.setattr(module, "MAX_MEMBERS", 8)
    monkeypatch.setattr(module, "MAX_BYTES", 39)
    assert "40 bytes" in refusal(path)
    monkeypatch.setattr(module, "MAX_BYTES", 40)
    with open_archive(path) as files:
        assert len(files) == 8


def test_encrypted_members_are_refused(tmp_path):
    path = directory_field(zip_of(tmp_path / "secret.zip", ("a.gp", b"x")), 8, b"\x01\x00")
    assert "is encrypted" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_reach_any_ratio_are_refused(method, tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.gp", b"x" * 100)
    assert "neither stored nor deflated" in refusal(path)


def test_a_method_that_python_does_not_know_is_refused(tmp_path):
    path = directory_field(zip_of(tmp_path / "deflate64.zip", ("a.gp", b"x")), 10, b"\x09\x00")
    assert "method 9" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("pixel", [0, 100, -1])
def test_a_wrong_bit_is_found_before_any_image_is_given(method, pixel, images, numpy114, tmp_path):
    data = numpy114([(image, 0) for image in images], {0: "9.5"})
    path = tmp_path / "dataset.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.gp", data)
    packed = bytearray(path.read_bytes())
    place = packed.index(images[0].tobytes()[:16]) + pixel % images[0].nbytes if method == zipfile.ZIP_STORED else 3000 + pixel
    packed[place] ^= 1
    path.write_bytes(packed)
    with pytest.raises(DatasetError, match=r"dataset\.zip: a\.gp"), open_legacy(path):
        pytest.fail("it was opened")


def test_an_archive_cut_or_changed_anywhere_is_refused_or_read_as_it_was(tmp_path, images, numpy114):
    data = numpy114([(image[:4, :4], 0) for image in images[:2]], {0: "9.5"})
    path = zip_of(tmp_path / "dataset.zip", ("a.gp", data))
    whole, refused = path.read_bytes(), 0
    broken = [whole[:end] for end in range(2, len(whole), 7)]
    broken += [whole[:n] + bytes([whole[n] ^ flip]) + whole[n + 1 :] for n in range(2, len(whole), 3) for flip in (1, 0x80)]
    for content in broken:
        path.write_bytes(content)
        try:
            with open_legacy(path) as legacy:
                for texture, image in zip(legacy, images[:2], strict=True):
                    assert (texture.image == image[:4, :4]).all()
        except DatasetError:
            refused += 1
    assert refused > len(broken) / 2


@pytest.mark.parametrize("content", [b"PK", b"PK\x03\x04" + b"x" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive_is_refused(content, tmp_path):
    path = tmp_path / "dataset.zip"
    path.write_bytes(content)
    assert "no zip archive" in refusal(path)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot read .*missing\.zip: No such file"), open_archive(tmp_path / "missing.zip"):
        pass
