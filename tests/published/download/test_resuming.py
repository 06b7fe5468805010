"""What has come is kept, and what is missing is asked for."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from contextlib import suppress

import pooch
import pytest

from gptex.errors import DatasetError
from gptex.published.download import ATTEMPTS, CHUNK, Downloader

from ..server import LAST_MODIFIED, Fault
from .data import AFTER_CUT, CUT, DATA, OTHER, PART, PATH, SIZE, etag, md5, names


def test_leaves_the_file_and_nothing_else(fetch, target):
    assert fetch() == DATA
    assert names(target.parent) == ["data.zip"]


def test_says_who_asks_and_wants_the_bytes_as_they_are(fetch, server):
    fetch()
    assert server.asked("User-Agent")[0].startswith("gptex/")
    assert server.asked("Accept-Encoding") == ["identity"]
    assert server.asked("Range") == [None]


def test_pooch_may_use_the_downloader(server, target):
    server.files[PATH] = DATA
    downloader = Downloader(target.with_name("part"), progress=False)
    pooch.retrieve(server.url(PATH), md5(DATA), target.name, target.parent, downloader=downloader)
    assert target.read_bytes() == DATA
    assert names(target.parent) == ["data.zip"]


# Broken connections


def test_resumes_where_it_was_cut(fetch, server):
    server.faults[PATH] = [CUT, CUT]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT, f"bytes={2 * PART}-"]
    assert server.asked("If-Range") == [None, etag(DATA), etag(DATA)]


@pytest.mark.parametrize("end", ["cut", "stall"])
def test_loses_less_than_a_chunk_when_cut_or_met_with_silence(fetch, server, end):
    server.faults[PATH] = [Fault(**{end: PART + CHUNK - 1})]
    assert fetch() == DATA
    first, second = server.asked("Range")
    assert first is None
    assert PART <= int(second.removeprefix("bytes=").removesuffix("-")) < PART + CHUNK


def test_goes_on_in_another_run(fetch, refusal, server):
    server.faults[PATH] = [CUT, Fault(status=404)]
    refusal()
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT, AFTER_CUT]


def test_many_cuts_are_no_failure_while_more_comes(fetch, server):
    server.faults[PATH] = [Fault(cut=SIZE // 16)] * 15
    assert fetch() == DATA
    assert len(server.requests) == 16


def test_gives_up_where_nothing_new_comes(refusal, server):
    server.faults[PATH] = [Fault(cut=2 * SIZE // 3, ranges=False)] * 50
    line = refusal()
    assert f"{ATTEMPTS} times in a row" in line
    assert "688 kB are kept" in line
    assert len(server.requests) <= ATTEMPTS + 1


def test_gives_up_where_nobody_answers(refusal, server):
    server.faults[PATH] = [Fault(stall=0, headers={"Content-Length": None})] * 50
    assert "the server does not answer" in refusal(timeout=0.05)
    assert len(server.requests) == ATTEMPTS


def test_says_why_there_is_no_connection_also_while_another_error_is_handled(tmp_path):
    with pytest.raises(DatasetError, match="Connection refused"):  # noqa: PT012
        try:
            raise KeyError("something else")
        except KeyError:
            Downloader(tmp_path / "part", pause=0.01, progress=False)("http://127.0.0.1:9/data.zip", tmp_path / "x", None)


def test_an_end_that_comes_too_early_is_noticed_without_a_length(fetch, server):
    server.faults[PATH] = [Fault(cut=PART, headers={"Content-Length": None})]
    assert fetch(size=len(DATA)) == DATA
    assert server.asked("Range") == [None, AFTER_CUT]


def test_what_has_come_outlives_a_killed_process(child, fetch, server, target):
    server.faults[PATH] = [Fault(stall=PART)]
    process, partial = child(), target.with_name(".data.zip.part")
    deadline = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size == PART) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial.stat().st_size == PART
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT]
    assert names(target.parent) == ["data.zip"]


def test_eight_processes_at_once_never_give_wrong_bytes_the_name(child, server, target):
    """Callers take a lock; without it some fail, but in one line."""
    data = random.Random(2).randbytes(10_000_000)
    server.files[PATH] = data
    server.faults[PATH] = [Fault(cut=9_000_000, ranges=False)] * 2 + [Fault(ranges=False)] * 100
    process = child("import os; [os.fork() for _ in range(3)]", data, timeout=5)
    seen, ended = set(), False
    while not ended:
        with suppress(FileNotFoundError):
            seen.add(target.read_bytes())
        with suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=0.01)
            ended = True
    assert seen == {data}
    assert "whole" in out
    assert "Traceback" not in err


# Other files than the one that was begun


def test_a_file_that_changed_is_brought_from_its_start(fetch, server):
    server.faults[PATH] = [Fault(cut=PART, becomes=OTHER)]
    assert fetch(data=OTHER) == OTHER
    assert server.asked("If-Range") == [None, etag(DATA)]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(headers={"ETag": '"other"'}),
        Fault(headers={"Last-Modified": "Fri, 25 May 2018 10:00:00 GMT"}),
        Fault(shift=1000),
        Fault(shift=-1000),
        Fault(headers={"Content-Range": None}),
        Fault(headers={"Content-Range": "bytes everything"}),
    ],
)
def test_a_part_that_does_not_continue_what_came_is_not_appended(fetch, server, fault):
    server.faults[PATH] = [CUT, fault]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT, None]


def test_begins_anew_where_ranges_are_ignored(fetch, server):
    server.faults[PATH] = [CUT, Fault(ranges=False)]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT]


def test_begins_anew_where_the_part_is_refused(fetch, server):
    server.faults[PATH] = [CUT, Fault(status=416)]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT, None]


def test_a_part_that_is_the_whole_file_is_enough(fetch, server):
    server.faults[PATH] = [Fault(headers={"Content-Length": str(SIZE + 1)}, cut=SIZE)]
    assert fetch() == DATA
    assert server.asked("Range") == [None, f"bytes={SIZE}-"]


def test_the_date_tells_versions_apart_where_the_tag_is_weak(fetch, server):
    server.faults[PATH] = [Fault(cut=PART, headers={"ETag": 'W/"weak"'})]
    assert fetch() == DATA
    assert server.asked("If-Range") == [None, LAST_MODIFIED]


def test_the_version_is_remembered_where_a_part_does_not_repeat_it(fetch, server):
    nameless = Fault(cut=PART, headers={"ETag": None, "Last-Modified": None})
    server.faults[PATH] = [CUT, nameless]
    assert fetch() == DATA
    assert server.asked("If-Range") == [None, etag(DATA), etag(DATA)]


def test_resumes_where_the_server_names_no_version(fetch, server):
    server.faults[PATH] = [Fault(cut=PART, headers={"ETag": None, "Last-Modified": None})]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT]
    assert server.asked("If-Range") == [None, None]


def test_a_part_from_another_address_is_not_continued(fetch, refusal, server):
    server.files["/mirror.zip"] = DATA
    server.faults[PATH] = [CUT, Fault(status=404)]
    refusal()
    assert fetch(path="/mirror.zip") == DATA
    assert server.asked("Range")[2:] == [None]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": "URL"}', '{"url": "URL", "version": 1}', "\xff"])
def test_a_part_with_a_damaged_note_is_not_continued(fetch, refusal, server, target, note):
    server.faults[PATH] = [CUT, Fault(status=404)]
    refusal()
    place = target.with_name(".data.zip.part.json")
    assert place.exists()
    place.write_text(note.replace("URL", server.url(PATH)), encoding="latin-1")
    assert fetch() == DATA
    assert server.asked("Range")[2:] == [None]
