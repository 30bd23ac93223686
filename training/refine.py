"""What a model learns per moment, fitted to held-out pictures before they are scored (PointAvatar's
and MonoGaussianAvatar's protocol): their trackers' errors are taken out, and no protocol without
compares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussian_renderer import render
from scene.frames import Frame, FrameLoader
from training.losses import dssim, l1
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant
from utils.errors import InputError

if TYPE_CHECKING:
    from scene.frame_codes import FrameCodes
    from scene.methods import MethodBase

DSSIM = 0.25  # weight of 1 - SSIM beside L1; no other term, as published


def corrections(method: MethodBase) -> FrameCodes:
    """What the model learned per moment; InputError where that is nothing."""
    rows = method.codes
    if rows is None or not rows.refined:
        raise InputError(
            "refine_test: this model learned no corrections per moment; train it with "
            "--refine_expression, --refine_flame_pose or --refine_camera"
        )
    return rows


def fit_moments(
    method: MethodBase, frames: list[Frame], loader: FrameLoader, steps: int
) -> list[float]:
    """Fit the rows of the frames' moments to their pictures, `steps` each, and nothing else.

    Every moment is fitted by itself, so their order says nothing; frames of one moment come one
    after the other. Returns the last loss of each frame.
    Raises InputError as `corrections` does.
    """
    rows = corrections(method)
    method.requires_grad_(False)
    learned = [rows.rows[name].requires_grad_() for name in rows.refined]
    rate = constant(method.optim.frame_lr)
    losses = []
    for frame in frames:
        optimizers = Optimizers([ParamGroup("frames", lambda: learned, rate, rows="touched")])
        optimizers.set_learning_rates(1)
        loaded = loader.load(frame, method.background)
        for _ in range(steps):
            seen = method.prepare(loaded)
            view = render(
                seen.camera, method(seen), seen.background, antialiased=method.antialiased
            )
            loss = l1(view.image, loaded.image) + DSSIM * dssim(view.image, loaded.image)
            loss.backward()
            optimizers.step()
        losses.append(float(loss.detach()))
    return losses
