"""Frames that no camera took: an avatar turned, its expressions swept one by one, or driven by
another sequence. Each function gives frames without pictures of their own, for `render.py` to
draw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from scene import Scene
from scene.controls import name_of
from scene.facts import SceneFacts, Statistics, moments, statistics
from scene.frames import HEAD, NO_ROW, Frame, from_aside, head_motion, pose_turns
from scene.paths import swung
from scene.world import AS_IT_IS, World
from utils.errors import InputError
from utils.rotations import rigid_inverse, twist_to_pose

# Numbers of a FLAME pose that are swept together, by what they do; they begin behind root and neck.
POSES = {"jaw pitch": (6,), "jaw yaw": (7,), "gaze pitch": (9, 12), "gaze yaw": (10, 13)}
SWEEP = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the way from the mean to the ends of the training range
ALONG = 0.5  # correlation in training from which on a number goes along with one that is swept


def turned(facts: SceneFacts, degrees: float, count: int, *, playing: bool) -> list[Frame]:
    """`count` views that turn to both sides and back, about the upright axis through the head.

    `playing` lets the held-out sequence run meanwhile; otherwise its first frame stands still. The
    axis goes with a head that moves in its world, so that the head turns and does not swing. A
    body that one camera saw, from its front alone, stays before the camera and follows the head,
    and so do poses that say how the head turns. A plate would not turn along, so there is none.
    """
    shown, frames = facts.shown, []
    posed = pose_turns(shown)
    for k in range(count):
        frame = shown[k * len(shown) // count] if playing else shown[0]
        angle = math.radians(degrees) * math.sin(2 * math.pi * k / count)
        camera = swung(shown[0].camera, _pivot(facts, frame), facts.up, angle)
        frames.append(from_aside(frame, camera, one_camera=facts.one_camera, pose_turns=posed))
    return frames


def swept(facts: SceneFacts) -> list[list[Frame]]:
    """One row of frames per expression coefficient: it goes through `SWEEP`, and others only as far
    as training showed them together. Where there are FLAME poses, so do jaw and gaze, which no
    coefficient moves: a row of each `POSES`.

    Raises InputError where the dataset has no expressions.
    """
    count = len(_expression(facts).mean)
    rows = [_sweep(facts, "expression", [k]) for k in range(count)]
    if "flame_pose" in facts.conditions:
        rows += [_sweep(facts, "flame_pose", list(places)) for places in POSES.values()]
    return rows


def sweep_names(facts: SceneFacts) -> list[str]:
    """What each row of `swept` moves."""
    names = [name_of(facts, "expression", k) for k in range(len(_expression(facts).mean))]
    return names + (list(POSES) if "flame_pose" in facts.conditions else [])


def _sweep(facts: SceneFacts, condition: str, places: list[int]) -> list[Frame]:
    """Numbers of a condition from the low to the high end of the training range.

    An avatar cannot tell apart what always moved together: it gives each number a part of what all
    of them do. So what correlates by `ALONG` or more with the first of `places` goes along, as a
    regression on it says. The head stays turned as the camera has it.
    """
    every, first, row = facts.conditions, places[0], []
    known, along = every[condition], _along(facts, condition, first)
    for part in SWEEP:
        end = known.high if part > 0 else known.low
        step = abs(part) * (end - known.mean)
        told = {name: found.mean + along[name] * step[first] for name, found in every.items()}
        told[condition][places] = (known.mean + step)[places]
        row.append(_resting(facts, told))
    return row


def _along(facts: SceneFacts, condition: str, place: int) -> dict[str, Tensor]:
    """How far every number of each condition goes where this one goes by 1; 0 for most."""
    every = facts.conditions
    if facts.together is None:  # of an older version
        return {name: torch.zeros_like(found.mean) for name, found in every.items()}
    slopes = facts.together
    alike = slopes * slopes.T >= ALONG**2  # the square of a correlation is both slopes' product
    widths = [len(found.mean) for found in every.values()]
    rows = dict(zip(every, torch.where(alike, slopes, 0.0).split(widths), strict=True))
    return dict(zip(every, rows[condition][place].split(widths), strict=True))


def _resting(facts: SceneFacts, told: dict[str, Tensor]) -> Frame:
    """The base frame, its head where it is, told another face."""
    base = _base(facts)
    if "flame_pose" in told:
        told = told | {"flame_pose": torch.cat((base.flame_pose[:HEAD], told["flame_pose"][HEAD:]))}
    return replace(base, **told, index=NO_ROW)


def driven(facts: SceneFacts, other: Scene, *, subtract_mean: bool, clamp: bool) -> list[Frame]:
    """The frames of `other`, in time order, performed by the subject before its own camera.

    `subtract_mean` takes the other's mean expression away and puts the subject's own in its place:
    what the tracker sees as identity stays behind. Where both have a body under the head, the head
    moves against it as the driver's does. `clamp` holds every coefficient and these motions in the
    training range. Raises InputError where either has no expressions, or not the same number, or
    where the avatar has FLAME poses and the driver has none.
    """
    known, base = _expression(facts), _base(facts)
    performance = moments(_performance(facts, other))
    foreign = statistics(performance)["expression"].mean
    frames = []
    for k, source in enumerate(performance):
        value = source.expression - foreign + known.mean if subtract_mean else source.expression
        value = value.clamp(known.low, known.high) if clamp else value
        time = k / max(len(performance) - 1, 1)
        frame = replace(base, expression=value, flame_pose=source.flame_pose, time=time)
        frames.append(replace(_moved(facts, frame, source, clamp), index=NO_ROW))
    return frames


def _moved(facts: SceneFacts, frame: Frame, source: Frame, clamp: bool) -> Frame:
    """The frame with the head where that of `source` is: as far from how it is held on average."""
    known = facts.head_motion
    if known is None or source.body_to_world is None:
        return frame
    motion = head_motion(source.body_to_world)
    place = twist_to_pose(motion.clamp(known.low, known.high) if clamp else motion)
    camera = replace(frame.camera, viewmat=frame.camera.viewmat @ frame.body_to_world @ place)
    return replace(frame, camera=camera, body_to_world=rigid_inverse(place))


def reenacted(facts: SceneFacts, other: Scene, *, clamp: bool) -> list[Frame]:
    """The frames of `other`, another sequence of the same subject, before its own cameras and with
    its pictures, so that the avatar's performance can be scored.

    `clamp` holds every coefficient in the training range. Raises InputError as `driven` does, and
    where only a head model can say where the other sequence's head is.
    """
    known = _expression(facts)
    if facts.head_model and (other.subject is None or other.subject.model is None):
        raise InputError(
            "the sequence to reenact has no head model, the avatar's data has; without it nothing "
            "says where its head is: put the head_model.npz that it was tracked with beside its "
            "videos"
        )
    frames = sorted(_performance(facts, other), key=lambda frame: frame.time)
    if clamp:
        frames = [replace(f, expression=f.expression.clamp(known.low, known.high)) for f in frames]
    world = facts.world.within(other.world)
    return [replace(_placed(frame, world), index=NO_ROW) for frame in frames]


def _placed(frame: Frame, world: World) -> Frame:
    """The frame where another scene's `world` has it."""
    if world == AS_IT_IS:
        return frame
    camera = replace(frame.camera, viewmat=world.seen(frame.camera.viewmat).float())
    poses = {name: getattr(frame, name) for name in ("head_to_world", "body_to_world")}
    held = {name: world.held(pose).to(pose) for name, pose in poses.items() if pose is not None}
    return replace(frame, camera=camera, **held)


def _performance(facts: SceneFacts, other: Scene) -> list[Frame]:
    """All frames of the driving sequence; InputError where the subject cannot perform them."""
    every = other.train + other.val + other.test
    # Where nothing is held out, the test frames stand among the training frames, too.
    frames = list({(frame.index, frame.image_path): frame for frame in every}.values())
    wanted = len(_expression(facts).mean)
    found = statistics(frames)
    if "expression" not in found:
        raise _no_expressions("the driving sequence")
    if len(found["expression"].mean) != wanted:
        raise InputError(
            f"the driving sequence has {len(found['expression'].mean)} expression coefficients, "
            f"the avatar was trained on {wanted}; drive it by a sequence of the same tracker"
        )
    if "flame_pose" in facts.conditions and "flame_pose" not in found:
        raise InputError(
            "the driving sequence has no FLAME poses, the avatar's data has; drive it by a "
            "sequence of the same family"
        )
    return frames


def _expression(facts: SceneFacts) -> Statistics:
    if "expression" not in facts.conditions:
        raise _no_expressions("the dataset")
    return facts.conditions["expression"]


def _no_expressions(whose: str) -> InputError:
    return InputError(
        f"{whose} has no expression coefficients; this needs a head dataset (see data/README.md)"
    )


def _base(facts: SceneFacts) -> Frame:
    """The first moment shown, before the plate, if there is one: its camera stands still."""
    return replace(facts.shown[0], background=facts.plate)


def _pivot(facts: SceneFacts, frame: Frame) -> Tensor:
    """(3,) what a turn goes about: the origin of the head's frame, which every family has in the
    head.

    Where the optical axes meet says nothing: the camera may stand still, and it need not look at
    the head's middle. A scene without a head turns about the middle of its starting points.
    """
    if frame.head_to_world is not None:
        return frame.head_to_world[:3, 3]
    return torch.zeros(3) if frame.expression is not None else facts.middle
