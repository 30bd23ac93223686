"""What README opens with is there, small, and of today."""

import pytest

from export.page import PAGE, data_of, page_around, read_page
from scripts import make_showcase
from tests.methods import ROOT
from utils.errors import InputError

PAGES = sorted(make_showcase.PAGES.glob("*.html"))
MEGABYTE = 1_000_000


def test_readme_opens_with_a_moving_picture_and_a_page_of_each_demo():
    opens = (ROOT / "README.md").read_text().split("\n## ")[0]
    for shown in make_showcase.SHOWN:
        assert f"(docs/images/{shown.gif})" in opens
        assert f"(docs/pages/{shown.page})" in opens
        assert (make_showcase.PICTURES / shown.gif).stat().st_size < 2 * MEGABYTE
        assert (make_showcase.PAGES / shown.page).stat().st_size < 5 * MEGABYTE
    assert [file.name for file in PAGES] == sorted(shown.page for shown in make_showcase.SHOWN)


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_a_committed_page_is_todays_and_its_numbers_are_whole(file):
    assert file.read_text() == page_around(data_of(file)), "make_showcase.py --renew mends it"
    head, blocks = read_page(file)
    assert blocks["base"].shape == (14, blocks["rest"].shape[1])
    assert bool(head["controls"]) == (file.name == "head.html")


def test_a_renewed_page_keeps_its_numbers(tmp_path):
    older = PAGE.read_text().replace("/*DATA*/", "AbC+/=").replace("<main>", "<main><p>older</p>")
    (tmp_path / "a.html").write_text(older)
    make_showcase.renew(tmp_path)
    assert (tmp_path / "a.html").read_text() == page_around("AbC+/=")


def test_without_the_demos_it_says_how_to_make_them(tmp_path, monkeypatch):
    monkeypatch.setattr(make_showcase, "ROOT", tmp_path)
    with pytest.raises(InputError, match=r"output/demo: no trained model there; `make demo`"):
        make_showcase.make()
