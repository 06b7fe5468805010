"""`gptex report`: a page on a dataset."""


def test_a_page_is_written_where_it_is_said(done, dataset, tmp_path, contents):
    before = contents(dataset)
    assert done("report", dataset.name, "-o", "seite ℓ.html", "--quiet").strip() == "seite ℓ.html"
    text = (tmp_path / "seite ℓ.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "<strong>Passed</strong>" in text
    assert contents(dataset) == before


def test_statistics_can_be_left_out_or_limited(done, dataset, tmp_path):
    done("report", dataset, "-o", "without.html", "--no-stats")
    assert "<strong>No statistics</strong>" in (tmp_path / "without.html").read_text(encoding="utf-8")
    done("report", dataset, "-o", "limited.html", "--limit", "1", "--quiet")
    assert "2 textures, none failed" in (tmp_path / "limited.html").read_text(encoding="utf-8")


def test_progress_is_told_on_standard_error(gptex, dataset):
    assert "certify: 6/6 textures" in gptex("report", dataset, "-o", "page.html").stderr
    assert gptex("report", dataset, "-o", "page.html", "--quiet").stderr == ""


def test_what_cannot_be_reported_is_refused(refused, dataset, tmp_path):
    assert "does not exist" in refused("report", "missing", "-o", "page.html")
    assert "nowhere" in refused("report", dataset, "-o", "nowhere/page.html", "--no-stats")
    assert "does not go with --no-stats" in refused("report", dataset, "-o", "x.html", "--no-stats", "--limit", 2, code=2)
    assert not list(tmp_path.glob("*.html"))


def test_a_page_never_takes_the_place_of_a_file_of_a_dataset(refused, dataset, contents):
    before = contents(dataset)
    for name in ("manifest.json", "train/00000.h5", "."):
        assert "ends in .html" in refused("report", dataset, "-o", dataset / name, "--quiet")
    assert contents(dataset) == before
