"""A file is replaced whole or not at all, and nothing is left beside it."""

from pathlib import Path

import pytest

from gptex import DatasetError
from gptex.store.files import PART, replacing, write_text


@pytest.mark.parametrize("before", [None, "old"])
def test_file_is_replaced_when_it_is_whole(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    if before is not None:
        path.write_text(before)
    with replacing(path) as part:
        part.write_text("new")
        assert PART.fullmatch(part.name)
        assert path.exists() == (before is not None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stopped"])
def test_what_was_there_is_there_still_when_writing_fails(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises((DatasetError, KeyboardInterrupt)) as raised:
        fail()
    assert str(raised.value) in ("", f"cannot write {path}: No space left on device")
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]
    assert path.read_text() == "old"


def test_folder_that_is_missing_or_a_folder_in_place_of_the_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    for path in (tmp_path / "nowhere" / "README.md", tmp_path / "README.md"):
        with pytest.raises(DatasetError, match=r"^cannot write ") as error:
            write_text(path, "text")
        assert "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["README.md"]
