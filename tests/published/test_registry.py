"""What is published: each key of a source.toml is described and checked, and the known records are what Zenodo shows."""

from __future__ import annotations

import pytest

from gptex.errors import DatasetError
from gptex.published.registry import Record, published, record

VALUES = {
    "title": '"A file"',
    "url": '"https://example.org/a.zip?download=1"',
    "file": '"a.zip"',
    "size": "1234",
    "md5": '"7374717f83aa0cf0107fc852a1e11221"',
    "doi": '"10.5281/zenodo.1252464"',
    "licence": '"MIT"',
    "citation": '"Someone (2018)"',
}


def toml(**changes):
    """A source.toml with some values changed, or left out if None."""
    values = VALUES | changes
    return "\n".join(f"{key} = {value}" for key, value in values.items() if value is not None).encode()


@pytest.fixture
def read(tmp_path):
    """A function that reads bytes as the source.toml of `mine`."""

    def run(data):
        path = tmp_path / "mine" / "source.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return record(path)

    return run


@pytest.fixture
def refusal(read):
    """A function that gives what is said about bytes that are no source.toml, without the path in front."""

    def run(data):
        with pytest.raises(DatasetError) as error:
            read(data)
        line = str(error.value)
        assert "\n" not in line
        assert "mine/source.toml" in line
        return line.partition("source.toml")[2].lstrip(": ")

    return run


def test_the_two_records_of_zenodo_are_known():
    known = published()
    assert list(known) == ["golkar-cranmer-2018", "golkar-cranmer-2018-samples"]
    whole, samples = known.values()
    assert (whole.file, whole.size, whole.md5) == ("dataset.zip", "386.0 MB", "7374717f83aa0cf0107fc852a1e11221")
    assert (samples.file, samples.size, samples.md5) == ("samples.zip", "1.6 GB", "9d2d24fb52d9264ea7fc91db20933a23")
    assert [one.about_bytes for one in known.values()] == [386_000_000, 1_600_000_000]
    for one in known.values():
        assert one.url == f"https://zenodo.org/records/1252464/files/{one.file}?download=1"
        assert one.doi == "10.5281/zenodo.1252464"
        assert one.exact_bytes is None  # the record shows rounded sizes
        assert one.known_hash == f"md5:{one.md5}"


def test_a_known_record_is_found_by_its_name():
    assert record("golkar-cranmer-2018") == ("golkar-cranmer-2018", published()["golkar-cranmer-2018"])


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(DatasetError, match=r"no published dataset 'golkar-cranmer-2019': did you mean 'golkar-cranmer-2018'\?"):
        record("golkar-cranmer-2019")
    with pytest.raises(DatasetError, match="there are golkar-cranmer-2018, golkar-cranmer-2018-samples"):
        record("")


def test_a_file_of_ones_own_is_read(read):
    name, one = read(toml())
    assert name == "mine"
    assert (one.title, one.url, one.file) == ("A file", "https://example.org/a.zip?download=1", "a.zip")
    assert (one.exact_bytes, one.about_bytes) == (1234, 1234)
    assert (one.doi, one.licence, one.citation) == ("10.5281/zenodo.1252464", "MIT", "Someone (2018)")


def test_what_a_record_does_not_state_is_called_so(read):
    one = read(toml(doi=None, licence=None, citation=None))[1]
    assert {one.doi, one.licence, one.citation} == {"not stated"}


def test_the_better_hash_is_used(read):
    assert read(toml(sha256=f'"{"a" * 64}"'))[1].known_hash == "sha256:" + "a" * 64
    assert read(toml(md5=None, sha256=f'"{"a" * 64}"'))[1].known_hash == "sha256:" + "a" * 64


def test_the_name_is_that_of_the_folder_or_of_the_file(read, tmp_path, monkeypatch):
    read(toml())
    (tmp_path / "mine" / "other.toml").write_bytes(toml())
    (tmp_path / "mine" / "below").mkdir()
    assert record(tmp_path / "mine" / "other.toml")[0] == "other"
    monkeypatch.chdir(tmp_path / "mine")
    assert record("source.toml")[0] == "mine"
    monkeypatch.chdir(tmp_path / "mine" / "below")
    assert record("../source.toml")[0] == "mine"


def test_a_byte_order_mark_is_no_matter(read):
    assert read(b"\xef\xbb\xbf" + toml())[1].file == "a.zip"


@pytest.mark.parametrize("key", Record.model_fields)
def test_each_key_is_described(key):
    keys = [name.strip() for line in Record.__doc__.splitlines() if " : " in line for name in line.split(" : ")[0].split(",")]
    assert key in keys


def test_an_unknown_key_gives_the_nearest(refusal):
    assert refusal(toml(sha265='"x"')) == "there is no key 'sha265': did you mean 'sha256'?"
    assert refusal(toml(colour='"x"')).startswith("there is no key 'colour': there are title, url, ")


@pytest.mark.parametrize("key", ["title", "url", "file", "size"])
def test_a_missing_key_is_named(refusal, key):
    assert refusal(toml(**{key: None})) == f"the key {key!r} is missing"


def test_a_file_without_a_hash_is_refused(refusal):
    assert refusal(toml(md5=None)) == "give the md5 or the sha256 of the file: without one it could not be checked"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", "3"),
        ("url", '"example.org/a.zip"'),
        ("url", '"ftp://example.org/a.zip"'),
        ("url", '"file:///etc/passwd"'),
        ("url", '"https://"'),
        ("url", '"https://example.org/a b.zip"'),
        ("url", '"https://example.org/a.zip\\n"'),
        ("file", '""'),
        ("file", '"../a.zip"'),
        ("file", '"a/b.zip"'),
        ("file", '"/etc/passwd"'),
        ("file", "'a\\b.zip'"),
        ("file", '".hidden"'),
        ("file", '"a.zip\\u0000"'),
        ("file", f'"{"a" * 101}"'),
        ("size", "0"),
        ("size", "-1"),
        ("size", "true"),
        ("size", "1234.0"),
        ("size", "inf"),
        ("size", '"1234"'),
        ("size", '"386 mb"'),
        ("size", '"386.0 MiB"'),
        ("size", '"1e9 GB"'),
        ("size", "[1]"),
        ("md5", '"7374"'),
        ("md5", '"7374717F83AA0CF0107FC852A1E11221"'),
        ("md5", '"md5:7374717f83aa0cf0107fc852a1e11221"'),
        ("sha256", '"7374717f83aa0cf0107fc852a1e11221"'),
        ("doi", "10.5281"),
        ("licence", "[]"),
        ("citation", "false"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(refusal, key, value):
    assert refusal(toml(**{key: value})).startswith(f"{key}: ")


def test_a_wrong_size_says_what_would_be_right(refusal):
    line = refusal(toml(size='"386 mb"'))
    assert line == "size: give the bytes as a whole number, or what the record shows as \"386.0 MB\", not '386 mb'"


@pytest.mark.parametrize("data", [b"title =", b"\xff\xfe", toml().decode().encode("utf-16"), b"a = " + b"[" * 10_000, b"\x00"])
def test_what_is_not_toml_is_refused_in_one_line(refusal, data):
    assert refusal(data).strip().startswith("is not TOML: ")


def test_an_empty_file_lacks_its_first_key(refusal):
    assert refusal(b"") == "the key 'title' is missing"


@pytest.mark.parametrize("what", ["missing.toml", "folder.toml"])
def test_a_file_that_is_not_there_is_named(tmp_path, what):
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(DatasetError, match=f"{what} does not exist"):
        record(tmp_path / what)
