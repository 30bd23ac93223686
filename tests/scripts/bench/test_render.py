import torch

from gaussian_renderer import render
from scripts.bench.render import make_avatar, measured
from utils.devices import CPU


def test_an_avatar_is_baked_and_talks_before_the_camera():
    method, frames = make_avatar(200, 40, 32, CPU)
    assert method.baked is not None
    assert len(method.table) == 200
    with torch.no_grad():
        pictures = [render(f.camera, method(f), f.background).image for f in frames[:2]]
    assert (1 - pictures[0]).mean() > 0.1
    assert (pictures[0] - pictures[1]).abs().max() > 0.05
    found = measured(method, frames[:2], CPU, 1)
    assert (found["gaussians"], found["image"]) == (200, "40x32")
    assert found["fps"] > 0
    assert {"pose_ms", "draw_ms", "picture_ms"} < found.keys()
