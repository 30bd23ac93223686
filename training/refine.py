"""Frames fitted to their pictures before they are drawn and scored (PointAvatar's and
MonoGaussianAvatar's protocol): their trackers' errors are taken out, and no protocol without
compares with it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gaussian_renderer import render
from scene.facts import SceneFacts
from scene.frames import Frame, FrameLoader, seen_from
from training.losses import dssim, l1
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant
from utils.devices import to_device
from utils.errors import InputError
from utils.rotations import twist_to_pose

if TYPE_CHECKING:
    from scene.frame_codes import FrameCodes
    from scene.methods import MethodBase

DSSIM = 0.25  # weight of 1 - SSIM beside L1; no other term, as published
# What is fitted to a frame, and its rate: coefficients and the body's motion in their spread over
# the training frames, the head's turn and shift in radians and scene extents.
FITTED = {"expression": 0.03, "flame_pose": 0.03, "head": 3e-3, "body": 0.05}


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
            loss = _distance(method, method.prepare(loaded))
            loss.backward()
            optimizers.step()
        losses.append(float(loss.detach()))
    return losses


def fit_frames(
    method: MethodBase,
    facts: SceneFacts,
    frames: list[Frame],
    loader: FrameLoader,
    steps: int,
    *,
    quiet: bool = True,
) -> list[Frame]:
    """The frames with expression, pose, the head's place and the body's motion fitted to their
    pictures, `steps` of Adam each.

    Any model's, whatever it learned per moment. Every frame is fitted by itself from what its
    tracker says; then corrections are smoothed over neighbours in time, where a moment has one
    frame.
    """
    method.requires_grad_(False)
    found = []
    for frame in tqdm(frames, "fitting", unit="frame", disable=quiet):
        loaded = loader.load(frame, method.background)
        own = _Corrections(method, facts, loaded)
        optimizers = Optimizers(
            [
                ParamGroup(name, lambda row=row: [row], constant(FITTED[name]))
                for name, row in own.rows.items()
            ]
        )
        optimizers.set_learning_rates(1)
        for _ in range(steps):
            _distance(method, method.prepare(own.applied(loaded))).backward()
            optimizers.step()
        found.append(own)
    times = [frame.time for frame in frames]
    if all(before < after for before, after in pairwise(times)):
        _smooth(found)
    with torch.no_grad():
        return [own.applied(f.to(own.device)) for own, f in zip(found, frames, strict=True)]


class _Corrections:
    """Of one loaded frame: what is added to what its tracker says."""

    def __init__(self, method: MethodBase, facts: SceneFacts, frame: Frame) -> None:
        spreads = {
            k: v.spread for k, v in facts.conditions.items() if getattr(frame, k) is not None
        }
        self.units = {**spreads, "head": torch.tensor([1.0] * 3 + [facts.extent] * 3)}
        if method.body is not None and frame.body_to_world is not None:
            self.units["body"] = method.body.unit
        self.device = frame.camera.viewmat.device
        self.units = {name: to_device(unit, self.device) for name, unit in self.units.items()}
        self.rows = {name: nn.Parameter(torch.zeros_like(u)) for name, u in self.units.items()}

    def applied(self, frame: Frame) -> Frame:
        """The frame corrected: the head turns about its own origin, before a body that stays."""
        found = {name: unit * self.rows[name] for name, unit in self.units.items()}
        head, body = twist_to_pose(found.pop("head")), found.pop("body", None)
        camera = replace(frame.camera, viewmat=frame.camera.viewmat @ head)
        frame = seen_from(frame, camera)
        if body is not None:
            frame = replace(frame, body_to_world=frame.body_to_world @ twist_to_pose(body))
        return replace(frame, **{name: getattr(frame, name) + row for name, row in found.items()})


def _distance(method: MethodBase, seen: Frame) -> Tensor:
    """From the model's picture of a loaded frame to the frame's own."""
    view = render(seen.camera, method(seen), seen.background, antialiased=method.antialiased)
    return l1(view.image, seen.image) + DSSIM * dssim(view.image, seen.image)


@torch.no_grad()
def _smooth(found: list[_Corrections]) -> None:
    """A binomial window over each frame and its two neighbours; the ends keep theirs."""
    for name in found[0].rows if found else ():
        rows = torch.stack([own.rows[name] for own in found])
        inner = (rows[:-2] + 2 * rows[1:-1] + rows[2:]) / 4
        for own, row in zip(found[1:-1], inner, strict=True):
            own.rows[name].copy_(row)
