"""What lies at the place already, what may not, and what is shown."""

from __future__ import annotations

import os
import re

import pytest

from gptex.errors import DatasetError
from gptex.published.download import download

from ..server import Fault
from .data import CUT, DATA, OTHER, PATH, md5, names

# What lies at the place already, and what may not


def test_a_file_with_the_wrong_hash_leaves_nothing_and_the_next_run_begins_anew(fetch, server, target):
    server.files[PATH] = OTHER
    with pytest.raises(
        DatasetError, match=f"its md5 is {md5(OTHER)[4:]}, not {md5(DATA)[4:]}: it is damaged or another file"
    ) as error:
        fetch()
    assert "\n" not in str(error.value)
    assert names(target.parent) == []
    server.files[PATH] = DATA
    assert fetch() == DATA
    assert server.asked("Range") == [None, None]


def test_a_part_with_wrong_bytes_ends_as_a_wrong_hash_not_as_the_file(fetch, refusal, server, target):
    server.faults[PATH] = [CUT, Fault(status=404)]
    refusal()
    partial = target.with_name(".data.zip.part")
    partial.write_bytes(OTHER[: partial.stat().st_size])
    assert "it is damaged or another file" in refusal()
    assert names(target.parent) == []
    assert fetch() == DATA


def test_a_file_that_is_there_is_not_asked_for(fetch, server):
    fetch()
    assert fetch() == DATA
    assert len(server.requests) == 1


def test_a_wrong_file_that_is_there_is_replaced(fetch, server, target):
    target.parent.mkdir()
    target.write_bytes(OTHER)
    assert fetch() == DATA
    assert len(server.requests) == 1


def test_a_wrong_file_that_is_there_stays_where_no_better_one_comes(fetch, server, target):
    target.parent.mkdir()
    target.write_bytes(b"what was there")
    server.files[PATH] = OTHER
    with pytest.raises(DatasetError):
        fetch()
    assert target.read_bytes() == b"what was there"


def test_the_file_is_as_readable_as_others(fetch, target, tmp_path):
    fetch()
    (tmp_path / "other").touch()
    assert target.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_mirror_in_a_folder_is_copied(tmp_path, target):
    mirror = tmp_path / "Münster und Köln #1 100%" / "größe.zip"
    mirror.parent.mkdir()
    mirror.write_bytes(DATA)
    assert "%20" in mirror.as_uri()
    assert download(mirror.as_uri(), target, md5(DATA), progress=False).read_bytes() == DATA
    assert names(target.parent) == ["data.zip"]
    assert target.stat().st_mode == mirror.stat().st_mode
    assert mirror.read_bytes() == DATA


def test_what_came_is_not_kept_beside_a_copy_from_a_mirror(fetch, refusal, server, tmp_path, target):
    server.faults[PATH] = [CUT, Fault(status=404)]
    refusal()
    assert ".data.zip.part" in names(target.parent)
    (tmp_path / "mirror.zip").write_bytes(DATA)
    download((tmp_path / "mirror.zip").as_uri(), target, md5(DATA), progress=False)
    assert names(target.parent) == ["data.zip"]


def test_a_mirror_with_another_file_leaves_nothing(tmp_path, target):
    mirror = tmp_path / "mirror.zip"
    mirror.write_bytes(OTHER)
    with pytest.raises(DatasetError, match="it is damaged or another file"):
        download(mirror.as_uri(), target, md5(DATA), progress=False)
    assert names(target.parent) == []


@pytest.mark.parametrize("what", ["missing.zip", "", "null%00"])
def test_a_mirror_that_cannot_be_read_is_refused_in_one_line(tmp_path, target, what):
    with pytest.raises(DatasetError, match=r"No such file|Is a directory|null") as error:
        download(f"{tmp_path.as_uri()}/{what}", target, md5(DATA), progress=False)
    assert "\n" not in str(error.value)
    assert names(target.parent) == []


@pytest.mark.parametrize("inside", ["data.zip", "folder/data.zip"])
def test_a_folder_that_cannot_be_written_is_named_with_the_reason(server, tmp_path, inside):
    server.files[PATH] = DATA
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("root may write everywhere")
    with pytest.raises(DatasetError, match=r"cannot write .*data\.zip.*: Permission denied"):
        download(server.url(PATH), tmp_path / inside, md5(DATA), progress=False)


def test_a_right_file_in_a_folder_that_cannot_be_written_is_enough(fetch, server, target):
    fetch()
    target.parent.chmod(0o555)
    assert fetch() == DATA
    assert len(server.requests) == 1


def test_a_folder_that_is_a_file_is_named_with_the_reason(fetch, target):
    target.parent.write_text("a file")
    with pytest.raises(DatasetError, match=r"cannot write .*data\.zip: (File exists|Not a directory)"):
        fetch()


def test_a_disk_that_is_too_small_is_noticed_before_the_file_comes(refusal, server):
    server.faults[PATH] = [Fault(headers={"Content-Length": str(10**18)})]
    assert "the disk is too small" in refusal()
    assert len(server.requests) == 1


def test_what_could_be_written_is_kept_when_writing_fails(child, fetch, server, target):
    server.files[PATH] = DATA
    process = child("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))")
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("", f"cannot write {target.with_name('.data.zip.part')}: File too large\n")
    assert not target.exists()
    assert fetch() == DATA
    assert server.asked("Range") == [None, "bytes=500000-"]


# What is shown


def test_is_silent_when_told_to_be(fetch, refusal, server, capfd):
    server.faults[PATH] = [CUT, Fault(status=503), Fault(status=404)]
    refusal()
    server.faults[PATH] = [CUT]
    fetch()
    assert capfd.readouterr() == ("", "")


def test_a_log_has_lines_and_says_what_is_waited_for(fetch, server, capfd):
    server.faults[PATH] = [CUT, Fault(status=429, headers={"Retry-After": "1"})]
    fetch(progress=True)
    out, err = capfd.readouterr()
    assert (out, "\r" in err) == ("", False)
    host = f"127.0.0.1:{server.server_port}"
    cut, busy, end = err.splitlines()
    assert cut.startswith(f"{host}: ")
    assert cut.endswith("; trying again in 0 s")
    assert busy == f"{host}: the server answers 429 (Too Many Requests); trying again in 1 s"
    assert re.fullmatch(r"data\.zip: 1\.05 MB of 1\.05 MB, \d+(\.\d+)? [kMG]B/s", end)
