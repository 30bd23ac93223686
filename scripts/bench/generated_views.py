"""How models of one video and its generated views do on the views that were held out:

    python scripts/bench/generated_views.py -m output/stag4d output/fourdgs

All of them must have been trained with the same --held_out_anchors. Of every moment the held-out
view and the filmed one are scored, in PSNR and by the overlap of silhouettes (IoU), beside the
visual hull of the views that trained, coloured by them. Flicker is how much pixels change from one
moment that is scored to the next, in levels of 255, where the true view stands still: both of its
pictures show the subject there and differ by less than STILL.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
from collections.abc import Callable
from statistics import fmean

import torch
from torch import Tensor

from arguments import parse_render_args
from gaussian_renderer.show import Show
from scene import Scene, load_scene
from scene.facts import evenly
from scene.frames import Frame, FrameLoader
from scene.methods import open_model
from scene.visual_hull import carve
from scoring.metrics import fg_psnr, psnr, ssim
from scripts.bench.visual_hull import draw
from utils.devices import CPU
from utils.errors import InputError, run_command

STILL = 2 / 255
Draw = Callable[[Frame], tuple[Tensor, Tensor]]  # a loaded frame to image and coverage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--models", nargs="+", required=True, help="folders of runs")
    parser.add_argument("--hulls", type=int, default=0, help="moments whose hull is drawn; 0: all")
    args = parser.parse_args()
    print(f"{'':24}{'view':>10}{'PSNR':>8}{'fg':>8}{'SSIM':>8}{'IoU':>8}{'flicker':>9}{'true':>7}")
    for k, folder in enumerate(args.models):
        settings, _ = parse_render_args(["-m", folder])
        scene = load_scene(settings.dataset, settings.model, settings.data)
        if not scene.test:
            raise InputError(f"{folder}: no view was held out; train with --held_out_anchors")
        loader = FrameLoader(settings.run.cache_mb, CPU)
        if k == 0:
            some = evenly(scene.test, args.hulls or len(scene.test))
            report("visual hull", some, loader, coloured_hull(scene, loader))
        show = Show(open_model(settings, -1, CPU)[1].eval(), loader)
        filmed = [frame for frame in scene.train if frame.role == "reference"]
        for frames in (filmed, scene.test):
            report(folder, frames, loader, lambda f, show=show: seen(show, f))


def seen(show: Show, frame: Frame) -> tuple[Tensor, Tensor]:
    view = show(show.load(frame))
    return view.image.clamp(0, 1).clone(), view.alpha.clone()


def coloured_hull(scene: Scene, loader: FrameLoader) -> Draw:
    """Drawn from the training views of the frame's moment."""

    def drawn(frame: Frame) -> tuple[Tensor, Tensor]:
        same = [f for f in scene.train if f.index == frame.index]
        loaded = [loader.load(f, torch.ones(3)) for f in same]
        return draw(carve(loaded), frame.camera, loaded)

    return drawn


@torch.no_grad()
def report(name: str, frames: list[Frame], loader: FrameLoader, drawn: Draw) -> None:
    """One line of means over the frames, which one camera sees in the order of time."""
    rows, before, changes, truths = [], None, [], []
    for frame in sorted(frames, key=lambda frame: frame.time):
        true = loader.load(frame, torch.ones(3))
        image, alpha = drawn(frame)
        mask, found = true.alpha > 0.5, alpha > 0.5
        overlap = float((mask & found).sum() / (mask | found).sum().clamp(min=1))
        scores = [float(score(image, true.image)) for score in (psnr, fg_psnr, ssim)]
        rows.append([*scores, overlap])
        if before is not None:
            changed, still = flicker(before, (image, true.image, mask))
            changes.append(changed)
            truths.append(still)
        before = (image, true.image, mask)
    p, fg, s, iou = (fmean(column) for column in zip(*rows, strict=True))
    print(f"{name[-23:]:24}{frames[0].role:>10}{p:8.2f}{fg:8.2f}{s:8.3f}{iou:8.3f}"
          f"{fmean(changes):9.2f}{fmean(truths):7.2f}")  # fmt: skip


def flicker(
    one: tuple[Tensor, Tensor, Tensor], other: tuple[Tensor, Tensor, Tensor]
) -> tuple[float, float]:
    """Mean change of the drawn and of the true view where the true one stands still, levels."""
    true = (one[1] - other[1]).abs()
    still = (true.amax(0) < STILL) & (one[2] & other[2])[0]
    if not still.any():
        return 0.0, 0.0
    return tuple(255 * float(d.mean(0)[still].mean()) for d in ((one[0] - other[0]).abs(), true))


if __name__ == "__main__":
    run_command(main, debug=False)
