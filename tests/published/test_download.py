"""Downloads: what has come is kept, what is missing is asked for, and nothing else is taken for the file."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from email.utils import formatdate
from itertools import pairwise

import pooch
import pytest

from gptex.errors import DatasetError
from gptex.published.download import ATTEMPTS, CHUNK, Downloader, download

from .server import LAST_MODIFIED, Fault

SIZE, PART = 64 * CHUNK, 20 * CHUNK
DATA, OTHER = random.Random(0).randbytes(SIZE), random.Random(1).randbytes(SIZE)
PATH = "/data.zip"
WEB_PAGE = {"Content-Type": "text/html; charset=utf-8"}
CUT = Fault(cut=PART)
AFTER_CUT = f"bytes={PART}-"


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@pytest.fixture
def target(tmp_path):
    """Where the file goes: a folder that is not there yet."""
    return tmp_path / "cache" / "data.zip"


@pytest.fixture
def fetch(server, target):
    """A function that brings the file of the server with short waits, and gives its bytes."""
    server.files[PATH] = DATA

    def run(*, path=PATH, data=DATA, timeout=0.5, pause=0.01, progress=False, **options):
        where = download(server.url(path), target, md5(data), timeout=timeout, pause=pause, progress=progress, **options)
        assert where == target
        return target.read_bytes()

    return run


@pytest.fixture
def refusal(fetch, target):
    """A function that gives the one line in which the server's file is refused."""

    def run(**options):
        with pytest.raises(DatasetError) as error:
            fetch(**options)
        assert "\n" not in str(error.value)
        assert not target.exists()
        return str(error.value)

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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


CHILD = """
import sys
from pathlib import Path
import pooch, requests
from gptex.errors import DatasetError
from gptex.published.download import download

url, target, known_hash, timeout = sys.argv[1:]
print("ready", flush=True)
exec(sys.stdin.readline())
try:
    download(url, Path(target), known_hash, progress=False, timeout=float(timeout), pause=0.01)
    print("whole")
except DatasetError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def child(server, target):
    """A function that has such a download begin in a process of its own, after a line of Python."""
    children = []

    def start(line="", data=DATA, timeout=30.0):
        command = [sys.executable, "-c", CHILD, server.url(PATH), str(target), md5(data), str(timeout)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        children.append(process)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process

    yield start
    for process in children:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


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


# Busy servers


def wait_of(fetch, server, **options):
    """Seconds between the two requests of a download."""
    assert fetch(**options) == DATA
    first, second = server.requests
    return second.time - first.time


@pytest.mark.parametrize("after", ["seconds", "date"])
def test_waits_as_long_as_the_server_asks(fetch, server, after):
    value = "1" if after == "seconds" else formatdate(time.time() + 2, usegmt=True)
    server.faults[PATH] = [Fault(status=429, headers={"Retry-After": value})]
    assert 0.9 < wait_of(fetch, server) < 2.9


@pytest.mark.parametrize("after", ["0", "Thu, 24 May 2018 10:00:00 GMT", "soon", "-5", "1e3", "", None])
def test_a_busy_server_is_not_asked_again_at_once(fetch, server, after):
    server.faults[PATH] = [Fault(status=429, headers={"Retry-After": after})]
    assert 0.2 < wait_of(fetch, server, pause=0.2) < 2


@pytest.mark.parametrize("after", ["86400", "9" * 400, "Thu, 24 May 2999 10:00:00 GMT"])
def test_does_not_wait_for_hours(refusal, server, after):
    server.faults[PATH] = [Fault(status=429, headers={"Retry-After": after})]
    assert "429 (Too Many Requests) and asks to wait" in refusal()
    assert len(server.requests) == 1


def test_waits_longer_each_time(refusal, server):
    server.faults[PATH] = [Fault(status=503, body=b"<html>", headers=WEB_PAGE)] * 50
    assert "503 (Service Unavailable), 6 times in a row" in refusal()
    times = [request.time for request in server.requests]
    waits = [b - a for a, b in pairwise(times)]
    assert len(waits) == ATTEMPTS - 1
    assert all(wait > 0.01 * 2**n for n, wait in enumerate(waits))


def test_the_page_of_a_busy_server_is_not_the_file(fetch, server):
    server.faults[PATH] = [CUT, Fault(status=503, body=b"<html>", headers=WEB_PAGE)]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT, AFTER_CUT]


# Answers that are not the file


def test_a_web_page_is_not_the_file(refusal, server, target):
    server.faults[PATH] = [Fault(body=b"<html>please log in</html>", headers=WEB_PAGE)]
    assert "is a web page, not the file" in refusal()
    assert len(server.requests) == 1
    assert names(target.parent) == []


@pytest.mark.parametrize("status", [204, 401, 403, 404, 410])
def test_a_refusal_is_final_and_keeps_what_came(fetch, refusal, server, status):
    server.faults[PATH] = [CUT, Fault(status=status, body=b"no")]
    assert f"the server answers {status} (" in refusal()
    assert len(server.requests) == 2
    assert fetch() == DATA
    assert server.asked("Range")[2:] == [AFTER_CUT]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_follows_to_where_the_file_is_and_resumes_there(fetch, server, status):
    server.files["/there.zip"] = DATA
    server.faults[PATH] = [Fault(status=status, headers={"Location": "/there.zip"})] * 2
    server.faults["/there.zip"] = [CUT]
    assert fetch() == DATA
    assert [request.path for request in server.requests] == [PATH, "/there.zip"] * 2
    assert server.asked("Range")[3] == AFTER_CUT
    assert server.asked("If-Range")[3] == etag(DATA)


def test_follows_no_circle(refusal, server):
    server.faults[PATH] = [Fault(status=302, headers={"Location": PATH})] * 200
    assert "Exceeded 30 redirects" in refusal()
    assert len(server.requests) == 31


def test_follows_to_no_file_of_this_machine(refusal, server):
    server.faults[PATH] = [Fault(status=302, headers={"Location": "file:///etc/hostname"})]
    assert "file:///etc/hostname" in refusal()


def test_a_file_of_another_size_is_refused_before_it_comes(refusal, server, target):
    server.files[PATH] = DATA + b"more"
    assert f"has {SIZE + 4} bytes, not {SIZE}: it is another file" in refusal(size=len(DATA))
    assert names(target.parent) == []


def test_a_file_that_does_not_end_is_refused(refusal, server):
    server.faults[PATH] = [Fault(body=20 * DATA, headers={"Content-Length": None})]
    assert f"has more than {SIZE} bytes: it is another file" in refusal(size=len(DATA))
    assert len(server.requests) == 1


def test_bytes_that_were_announced_and_do_not_come_are_asked_for(fetch, server):
    server.faults[PATH] = [Fault(body=DATA[:PART], headers={"Content-Length": str(SIZE), "ETag": etag(DATA)}, cut=PART)]
    assert fetch() == DATA
    assert server.asked("Range") == [None, AFTER_CUT]


def test_a_compressed_answer_is_refused(refusal, server):
    server.faults[PATH] = [Fault(body=gzip.compress(DATA), headers={"Content-Encoding": "gzip"})]
    assert "sends the file compressed, although asked not to" in refusal()
    assert server.asked("Accept-Encoding") == ["identity"]


@pytest.mark.parametrize("url", ["http://", "http://[::1", "gopher://example.org/x", "http://exa mple/x", "data.zip", ""])
def test_a_bad_address_is_refused_in_one_line(tmp_path, url):
    with pytest.raises(DatasetError) as error:
        download(url, tmp_path / "data.zip", md5(DATA), progress=False)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == []


def test_an_untrusted_certificate_is_final(server, tmp_path):
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out certificate.pem"
    try:
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    target = tmp_path / "data.zip"
    with pytest.raises(DatasetError, match=r"data\.zip: .*certificate verify failed") as error:
        download(server.url(PATH).replace("http:", "https:"), target, md5(DATA), progress=False, pause=0.01)
    assert "in a row" not in str(error.value)


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
