"""Pictures are written whole, or not at all."""

import subprocess
import sys

import pytest
from matplotlib import image

from gptex import GptexError
from gptex.pictures import new_figure, save

LIMITED = """
import resource, signal, sys
from gptex import GptexError
from gptex.pictures import new_figure, save
figure = new_figure()
figure.subplots().plot([1, 2])
save(figure, "warm.png")  # what matplotlib writes of its own is written before
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save(figure, "precious.png")
except GptexError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")
def test_where_there_is_no_room_for_a_picture_the_old_one_stays(tmp_path):
    (tmp_path / "precious.png").write_text("precious")
    done = subprocess.run([sys.executable, "-c", LIMITED], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot write precious.png: ")
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"precious.png", "warm.png"}
    assert (tmp_path / "precious.png").read_text() == "precious"


def test_a_picture_takes_the_place_of_the_old_one_in_the_format_of_its_name(tmp_path):
    figure = new_figure(2, 1)
    for name, begins in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.SVG", b"<?xml")):
        (tmp_path / name).write_text("old")
        save(figure, tmp_path / name, dpi=50)
        assert (tmp_path / name).read_bytes().startswith(begins)
    assert image.imread(tmp_path / "a.png").shape == (50, 100, 4)


@pytest.mark.parametrize(("name", "says"), [("a", "no ending"), ("a.xyz", "no format 'xyz'"), ("no/a.png", "no such folder")])
def test_a_name_that_cannot_be_is_refused(name, says, tmp_path):
    with pytest.raises(GptexError, match=says):
        save(new_figure(), tmp_path / name)
