"""view.py in a real browser: what the page shows is what render.py draws."""

import json
import subprocess
import sys

import imageio.v2 as iio
import numpy as np
import pytest

import render
from arguments import parse_render_args, parse_train_args
from tests.browser import browser_program, tab
from tests.methods import ROOT
from tests.tiny_scene import write_tiny_head
from train import train

pytestmark = pytest.mark.long
SIDE = 200  # pixels of the canvas' place
ASIDE, BELOW = 286, 80  # pixels of the page beside and below it, at most
KEYS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An avatar whose expressions move it."""
    browser_program()
    folder = tmp_path_factory.mktemp("viewed")
    data = write_tiny_head(folder / "head", size=96)
    flags = ["-s", str(data), "-m", str(folder / "model"), "--method", "fourdgs", "--quiet"]
    flags += ["--coarse_iterations", "60", "--multires", "1", "--expression_input", "true"]
    train(parse_train_args([*flags, "--iterations", "200", "--init_points", "300"]))
    return folder / "model"


@pytest.fixture(scope="module")
def viewer(model):
    """The address that view.py prints; it must be running when the tests end."""
    program = subprocess.Popen(
        [sys.executable, "view.py", "-m", str(model), "--port", "0"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield program.stdout.readline().split()[1]
    assert program.poll() is None
    program.terminate()
    program.wait()


@pytest.fixture(scope="module")
def page(viewer, tmp_path_factory):
    with tab(tmp_path_factory.mktemp("browser")) as page:
        page.open(viewer, SIDE + ASIDE, SIDE + BELOW)
        at_rest(page)
        yield page


def at_rest(page):
    """Wait until the page holds a sharp picture of what it was last told; its pixels."""
    page.until("document.body.dataset.sharp === 'true' && !moving && !waiting && !dirty")
    return page.pixels("#picture").astype(float)


def psnr(a, b):
    return -10 * np.log10(np.square((a - b) / 255.0).mean() + 1e-12)


def set_range(page, selector, value):
    page.run(
        f"{{ const it = document.querySelector({json.dumps(selector)}); it.value = {value};"
        " it.dispatchEvent(new Event('input')); }"
    )


def test_the_page_shows_what_render_draws(page, model, tmp_path):
    shown = at_rest(page)
    # The path of one key that stands where the page stands, at the size of its canvas.
    page.run("$('key').onclick()")
    key = json.loads(page.run("JSON.stringify(keys[0])"))
    page.run("free(); wish()")
    shown = at_rest(page)
    path = {
        "version": 1, "fps": 1, "seconds": 1, "keys": [key, key],
        "size": [shown.shape[1], shown.shape[0]],
    }  # fmt: skip
    (tmp_path / "path.json").write_text(json.dumps(path))
    skip = ["--skip_train", "--skip_test", "--skip_video", "--quiet"]
    flags = ["-m", str(model), *skip, "--path", str(tmp_path / "path.json")]
    render.render_model(*parse_render_args(flags))
    drawn = iio.imread(sorted(model.glob("path/ours_*/renders/*.png"))[0]).astype(float)
    assert drawn.shape == shown.shape
    assert drawn.std() > 20  # there is something to see
    assert psnr(shown, drawn) > 40
    assert (model / f"path/ours_{200}/video_rgb.mp4").is_file()


def test_time_and_sliders_change_the_picture_and_reset_brings_it_back(page):
    page.run("free(); move(0)")
    first = at_rest(page)
    set_range(page, "#time", 0.9)
    later = at_rest(page)
    assert psnr(first, later) < 35
    page.run("move(0)")
    assert psnr(first, at_rest(page)) > 60
    set_range(page, "#sliders input", 0.5)
    told = at_rest(page)
    assert psnr(first, told) < 35
    page.run("$('rest').onclick()")
    assert psnr(first, at_rest(page)) > 60


def test_a_drag_turns_the_camera_and_a_picture_stands_beside_its_view(page):
    page.run("free(); wish()")  # a known camera's picture has its own shape
    before = at_rest(page)
    for kind, x in (("mousePressed", 100), ("mouseMoved", 140), ("mouseReleased", 140)):
        page.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=100,
            button="left",
            buttons=1,
            clickCount=1,
        )
    assert psnr(before, at_rest(page)) < 35
    page.run("$('camera').value = '2'; $('camera').onchange(); $('split').checked = true; wish()")
    both = at_rest(page)
    half = both.shape[1] // 2
    assert 18 < psnr(both[:, :half], both[:, half:]) < 50  # alike, and not the same
    page.run("$('split').checked = false; free(); wish()")


def test_a_path_comes_back_as_a_video(page):
    page.run("keys.length = 0; free(); $('key').onclick(); orbit(0.3, 0); $('key').onclick()")
    page.run("download = (name, type, data) => { window.got = [name, type, data.byteLength]; }")
    page.run("scene.size = [64, 48]; $('film').onclick()")
    name, kind, size = page.until("window.got")
    assert (name, kind) == ("path.mp4", "video/mp4")
    assert size > 1_000
    assert page.run("$('keys').textContent") == "2 keys"


def test_play_goes_on_and_stops(page):
    page.run("move(0.1); $('loop').checked = false; $('play').onclick()")
    page.until("part === 1 && !playing")
    at_rest(page)
    assert page.errors == []


def test_only_the_viewer_is_asked_for_anything(page, viewer):
    origin = viewer.split("/?")[0]
    assert page.requests
    assert all(url.startswith((origin, "data:", "blob:")) for url in page.requests)


def test_a_wrong_token_is_refused_in_the_browser(viewer, tmp_path):
    with tab(tmp_path) as page:
        page.open(viewer[:-3] + "xxx", SIDE, SIDE)
        assert "wrong token" in page.until("document.body && document.body.innerText")


def test_a_closed_tab_leaves_the_viewer_idle(viewer, model, tmp_path):
    with tab(tmp_path) as page:
        page.open(viewer, SIDE + ASIDE, SIDE + BELOW)
        at_rest(page)
    # A fresh tab is answered at once: nothing of the closed one is being drawn.
    with tab(tmp_path / "again") as page:
        page.open(viewer, SIDE + ASIDE, SIDE + BELOW)
        at_rest(page)
