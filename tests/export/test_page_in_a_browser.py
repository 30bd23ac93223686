"""The page of one file, opened from the disk in a real browser: what it shows is what the model
draws."""

import importlib.util

import numpy as np
import pytest
import torch

from arguments import parse_model_args, parse_train_args
from arguments.settings import ExportParams
from export import page as format_page
from export.axes import upright
from gaussian_renderer import render
from gaussian_renderer.show import Show
from scene import performance
from scene.frames import FrameLoader
from scene.looks import Look, camera_of
from scene.methods import open_model
from tests.browser import browser_program, decoded, tab
from tests.methods import ROOT
from tests.tiny_scene import write_tiny_head, write_tiny_scene
from train import train
from utils.devices import CPU

pytestmark = pytest.mark.long
SIDE = 240
WRITERS = {"scene": write_tiny_scene, "head": write_tiny_head}

_spec = importlib.util.spec_from_file_location("export_command", ROOT / "export.py")
command = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(command)


@pytest.fixture(scope="module", params=WRITERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def exported(kind, tmp_path_factory):
    """(model folder, page)."""
    browser_program()
    folder = tmp_path_factory.mktemp(kind)
    data = WRITERS[kind](folder / "data", size=96)
    flags = ["-s", str(data), "-m", str(folder / "model"), "--method", "fourdgs", "--quiet"]
    flags += ["--coarse_iterations", "60", "--multires", "1", "--iterations", "200"]
    if kind == "head":
        flags += ["--expression_input", "true", "--time_input", "false"]
    train(parse_train_args([*flags, "--init_points", "300"]))
    file = folder / "page.html"
    argv = ["-m", str(folder / "model"), "-o", str(file), "--quiet"]
    command.export_model(*parse_model_args("export.py", ExportParams, argv))
    return folder / "model", file


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def page(request, exported, tmp_path_factory):
    """Opened once for each way to draw."""
    with tab(tmp_path_factory.mktemp("browser")) as page:
        page.open(f"file://{exported[1]}#{request.param}", SIDE + 266, SIDE + 40)
        page.until("document.body.dataset.ready")
        yield page


def shown(page, script=""):
    """Pixels after a script, drawn at once."""
    url = page.run(f"{script}; moved = true; draw(); $('picture').toDataURL('image/png')")

    return decoded(url.split(",")[1]).astype(float)


def psnr(a, b):
    return -10 * np.log10(np.square((a - b) / 255.0).mean() + 1e-12)


@torch.no_grad()
def drawn(model, head, part, eye, height, width):
    """What the model itself draws where the page looks from: not what the file says."""
    argv = ["-m", str(model), "--quiet"]
    settings, options = parse_model_args("export.py", ExportParams, argv)
    facts, method = open_model(settings, options.iteration, CPU)
    back = upright(facts).mT  # the scene's own axes; the tiny scenes have their files' units

    def point(p):
        return tuple((back @ torch.tensor(p, dtype=torch.float64)).tolist())

    look = Look(point(eye), point(head["target"]), point((0.0, 1.0, 0.0)), head["fov"])
    camera = camera_of(look, width, height)
    show = Show(method, FrameLoader(0, CPU))
    frame = show.load(performance.at(facts, part))
    image = render(camera, method(frame), method.background).image
    return (image.clamp(0, 1).permute(1, 2, 0).numpy() * 255).round()


@pytest.mark.parametrize("part", [0.1, 0.8])
@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_two_views_at_two_times_are_those_of_the_model(page, exported, part, turn):
    model, file = exported
    head, _ = format_page.read_page(file)
    seen = shown(page, f"home(); orbit({turn}, 0); part = {part}")
    eye = page.run("eye")
    truth = drawn(model, head, part, eye, *seen.shape[:2])
    assert truth.std() > 20
    assert psnr(seen, truth) > 28
    mirrored = truth[:, ::-1]
    assert psnr(seen, mirrored) < psnr(seen, truth) - 3


def test_its_time_plays(page):
    first, later = shown(page, "home(); part = 0"), shown(page, "part = 0.9")
    assert psnr(first, later) < 35
    page.run("$('play').onclick()")
    page.until("playing && part > 0.9 || part < 0.9 && part > 0")  # it goes on, and round again
    page.run("$('play').onclick()")
    assert psnr(first, shown(page, "part = 0")) > 60


def test_a_slider_moves_the_face_and_reset_brings_it_back(page, kind):
    count = page.run("document.querySelectorAll('#sliders input').length")
    assert (count > 0) == (kind == "head")
    if kind == "head":
        first = shown(page, "home(); part = 0")
        page.run(
            "{ const it = document.querySelector('#sliders input'); it.value = it.max;"
            " it.dispatchEvent(new Event('input')); }"
        )
        assert psnr(first, shown(page)) < 35
        page.run("$('rest').onclick()")
        assert psnr(first, shown(page)) > 60


def test_nothing_is_asked_of_the_network_and_nothing_went_wrong(page, exported):
    assert [url for url in page.requests if not url.startswith("data:")] == [
        f"file://{exported[1]}"
    ]
    assert page.errors == []
    assert page.run("$('said').textContent") == ""


def test_a_gpu_in_software_is_passed_over(exported, tmp_path):
    with tab(tmp_path) as page:
        page.open(f"file://{exported[1]}", SIDE + 266, SIDE + 40)
        page.until("document.body.dataset.ready")
        assert page.run("Boolean($('picture').getContext('2d'))")
        assert shown(page).std() > 20
