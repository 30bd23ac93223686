"""Problems of a scene, each with its remedy. A check is a function from a scene to its problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from scene import Scene
from scene.datasets._doubts import doubts
from scene.facts import evenly
from scene.frames import Frame, decode
from scene.head.model import JOINTS
from utils.errors import InputError
from utils.images import check_image

N_DECODED = 24  # pictures per split whose coverage is looked at
HARDLY, NEARLY_ALL = 0.001, 0.999  # of a picture's pixels covered
SEEN = 0.01  # of the points, from which a camera counts as looking at them
KINDS = ("error", "warning", "note")
STILL = 1e-6  # spread of a coefficient that never varies
SAME_PLACE = 1e-4  # of the scene extent


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do. Only errors keep a scene from training as it should."""

    kind: str  # of KINDS
    text: str


def error(text: str) -> Problem:
    return Problem("error", text)


def warning(text: str) -> Problem:
    return Problem("warning", text)


def note(text: str) -> Problem:
    return Problem("note", text)


def problems(scene: Scene) -> list[Problem]:
    """All that is wrong with the scene, errors first."""
    found = [problem for check in CHECKS for problem in check(scene)]
    return sorted(found, key=lambda problem: KINDS.index(problem.kind))


def named(paths: list[str]) -> str:
    """A few of many names."""
    shown = ", ".join(paths[:4])
    return shown if len(paths) <= 4 else f"{shown} and {len(paths) - 4} more"


def pictured(scene: Scene) -> list[Frame]:
    """The frames that have a picture."""
    return [f for f in [*scene.train, *scene.test, *scene.val] if f.image_path is not None]


def unreadable_files(scene: Scene) -> Iterator[Problem]:
    files = {path: None for frame in pictured(scene) for path in files_of(frame)}
    for path in files:
        try:
            check_image(path)
        except InputError as problem:
            yield error(str(problem))


def files_of(frame: Frame) -> list[Path]:
    mask = frame.mask.path if frame.mask else None
    return [path for path in (frame.image_path, mask, frame.plate_path) if path is not None]


def misfit_masks(scene: Scene) -> Iterator[Problem]:
    """Of some frames: masks of another size, and those that hold nothing or everything."""
    empty, full = [], []
    for split in (scene.train, scene.test, scene.val):
        for frame in evenly(split, N_DECODED):
            try:
                pixels = decode(replace(frame, lens=None))
            except InputError as problem:
                if all(readable(path) for path in files_of(frame)):
                    yield error(str(problem))
                continue
            if pixels.shape[2] == 4:
                covered = float((pixels[..., 3] > 127).mean())
                name = str(frame.mask.path if frame.mask else frame.image_path)
                empty += [name] if covered < HARDLY else []
                full += [name] if covered > NEARLY_ALL and frame.mask else []
    if empty:
        yield warning(
            f"{named(empty)}: covers nothing; such frames teach emptiness: mend the masks or "
            "remove the frames"
        )
    if full:
        yield warning(
            f"{named(full)}: the mask covers the whole picture; check that it is the subject's"
        )


def readable(path: Path) -> bool:
    try:
        check_image(path)
    except InputError:
        return False
    return True


def cameras_that_look_away(scene: Scene) -> Iterator[Problem]:
    points = scene.points.xyz[:: max(1, len(scene.points.xyz) // 2_000)]
    frames = pictured(scene)
    away = [f for f in frames if seen(f, points) < SEEN]
    if len(away) * 2 > len(frames):
        yield error(
            f"{len(away)} of {len(frames)} cameras see none of the starting points: the camera "
            "convention, the scale "
            "or the points are of another world; compare the camera plot with the folder's "
            "description in data/README.md"
        )
    elif away:
        yield warning(
            f"{named([str(f.image_path) for f in away])}: the camera sees none of the starting "
            "points; check its pose"
        )


def seen(frame: Frame, points: torch.Tensor) -> float:
    """The part of the points (P, 3) that lies inside the frame's picture."""
    camera = frame.camera
    pixels, depths = camera.project(points)
    u, v = pixels.unbind(1)
    inside = (depths > camera.near) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    return float(inside.float().mean())


def repeated_moments(scene: Scene) -> Iterator[Problem]:
    counts = Counter(moment_of(frame) for frame in scene.train)
    twice = [str(f.image_path) for f in scene.train if counts[moment_of(f)] > 1]
    if twice:
        yield warning(
            f"{named(twice)}: the same time from the same camera as another frame; only one can "
            "be right: "
            "check the times"
        )
    if len(scene.train) > 1 and len({f.time for f in scene.train}) == 1:
        yield warning("all training frames have the same time; nothing can move: check the times")


def moment_of(frame: Frame) -> tuple:
    return (frame.time, *frame.camera.viewmat.reshape(-1).tolist())


def train_in_test(scene: Scene) -> Iterator[Problem]:
    paths = {frame.image_path for frame in scene.train}
    both = [str(f.image_path) for f in [*scene.test, *scene.val] if f.image_path in paths]
    if both:
        yield error(
            f"{named(both)}: trains and tests; scores on it mean nothing: keep it in one split"
        )
    seen_moments = {moment_of(frame) for frame in scene.train}
    twins = [
        str(f.image_path)
        for f in scene.test
        if f.image_path not in paths and moment_of(f) in seen_moments
    ]
    if twins:
        yield warning(
            f"{named(twins)}: a test frame of the time and camera of a training frame; it tests "
            "little"
        )


def splits_without_use(scene: Scene) -> Iterator[Problem]:
    if not scene.test:
        yield warning(
            "no test frames, so no scores: hold some out with --hold_out 0.2 where the family "
            "has no split"
        )
        return
    if len(scene.test) > len(scene.train):
        yield warning(
            f"{len(scene.test)} frames test and only {len(scene.train)} train: hold fewer out, as "
            "with --hold_out 0.2, where the family has no split"
        )
    times = [frame.time for frame in scene.train]
    outside = [f for f in scene.test if not min(times) <= f.time <= max(times)]
    if outside and scene.train[0].expression is None:
        yield warning(
            f"{len(outside)} of {len(scene.test)} test frames lie outside the training times "
            f"{min(times):.3f} to {max(times):.3f}: time alone cannot tell what happens there; "
            "expect low scores of them, or hold other moments out"
        )


def cameras_in_one_place(scene: Scene) -> Iterator[Problem]:
    if any(frame.head_to_world is not None for frame in scene.train):
        return  # the head turns before the camera
    poses = torch.stack([f.camera.viewmat for f in scene.train])
    if len(poses) > 1 and float((poses - poses[0]).abs().max()) < SAME_PLACE:
        yield warning(
            "all training pictures are from one camera that stands still: depth and far sides "
            "are guesses"
        )


def columns_that_never_vary(scene: Scene) -> Iterator[Problem]:
    for name, called in (("expression", numbered), ("flame_pose", joints)):
        rows = [getattr(f, name) for f in scene.train if getattr(f, name) is not None]
        if len(rows) < 2:
            continue
        spread_of = torch.stack(rows).std(0)
        still = (spread_of < STILL).nonzero()[:, 0].tolist()
        if len(still) == len(spread_of):
            yield warning(
                f"{name}: none of its {len(still)} columns varies in train; nothing can be "
                "driven by it"
            )
        elif still:
            yield warning(
                f"{name}: {called(still)} of {len(spread_of)} columns never vary in train; nothing "
                "is learned of them, and nothing else than their value can drive them"
            )


def numbered(columns: list[int]) -> str:
    return f"{len(columns)} ({named([str(k) for k in columns])})"


def joints(columns: list[int]) -> str:
    """The same for the numbers of a FLAME pose, by joint: "jaw yz"."""
    axes = {name: [k % 3 for k in columns if k // 3 == row] for row, name in enumerate(JOINTS)}
    parts = [f"{name} {''.join('xyz'[k] for k in found)}" for name, found in axes.items() if found]
    return f"{len(columns)} ({', '.join(parts)})"


def doubtful(scene: Scene) -> Iterator[Problem]:
    """What training says, too, before it starts."""
    yield from map(warning, doubts(scene))


CHECKS = (
    unreadable_files,
    misfit_masks,
    cameras_that_look_away,
    train_in_test,
    repeated_moments,
    splits_without_use,
    cameras_in_one_place,
    columns_that_never_vary,
    doubtful,
)
