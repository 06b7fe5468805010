"""Busy servers are waited for; what is not the file is not taken for it."""

from __future__ import annotations

import gzip
import ssl
import subprocess
import time
from email.utils import formatdate
from itertools import pairwise

import pytest

from gptex.errors import DatasetError
from gptex.published.download import ATTEMPTS, download

from ..server import Fault
from .data import AFTER_CUT, CUT, DATA, PART, PATH, SIZE, WEB_PAGE, etag, md5, names

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
