"""Write a trained model as other programs read it: python export.py -m output/NAME -o FILE"""

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from arguments import parse_model_args
from arguments.settings import ExportParams, Settings
from export.about import About, Face
from export.axes import Place, padded, with_harmonics
from export.formats import format_of, numbered
from export.loss import decibels
from gaussian_renderer import heaviest, weights
from gaussian_renderer.show import Show
from scene import performance
from scene.controls import control_names
from scene.facts import SceneFacts, evenly
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from scene.methods import MethodBase, open_model
from training.model_folder import require_apart
from utils.devices import choose_device
from utils.errors import InputError, run_command
from utils.images import make_folder

N_VIEWS = 5  # that tell what a file lost
N_SEQUENCE = 30  # moments of a numbered sequence
N_WEIGHED = 60  # views that say which rows show least


@torch.no_grad()
def export_model(settings: Settings, options: ExportParams) -> None:
    """Write the file, or the numbered sequence, and say its size and what it lost."""
    path, kind = _target(settings, options)
    device = choose_device(settings.run.device)
    facts, method = open_model(settings, options.iteration, device)
    show = Show(method, FrameLoader(0, device))
    kept = _kept(facts, method, show, options.prune)

    def whole(frame: Frame) -> Gaussians:
        return with_harmonics(method(show.load(frame)))

    def pose(frame: Frame) -> Gaussians:
        return whole(frame).rows(kept)

    place = Place.of(facts, kind.AXES, options.axes)
    make_folder(path.parent)
    count = options.moments or (kind.MOMENTS if kind.MOVES else N_SEQUENCE)
    ends = [k / (count - 1) for k in range(count)]
    if kind.MOVES:

        def placed(frame: Frame) -> Gaussians:
            return place.there(pose(frame))

        frames = [placed(performance.at(facts, end)) for end in ends]
        about = replace(_about(facts, method, place, placed), modes=options.modes)
        kind.write_moving(path, frames, about)
        files, moments = [path], [k / (N_VIEWS - 1) for k in range(N_VIEWS)]
        pairs = [
            (
                whole(performance.at(facts, part)),
                place.back(_on(device, kind.read_moving(path, part))),
            )
            for part in moments
        ]
    else:
        moments = [performance.at(facts, end) for end in ends] if options.all else [None]
        files = [numbered(path, k) for k in range(len(moments))] if options.all else [path]
        wanted = _still(facts, method, options, whole)
        for file, moment in zip(files, moments, strict=True):
            model = wanted if moment is None else whole(moment)
            written = model.rows(kept)
            shown = place.there(padded(written) if options.pad else written)
            kind.write_one(file, shown, antialiased=method.antialiased)
        read = place.back(_on(device, kind.read_one(files[-1])))  # the last file stands for all
        pairs = [(model, read)] * N_VIEWS
    cameras = _cameras(facts, device)
    loss = decibels(pairs, cameras, method.background.to(device), antialiased=method.antialiased)
    _report(files, int(kept.sum()), loss)


def _target(settings: Settings, options: ExportParams) -> tuple[Path, object]:
    """The file and the module of its format; InputError where they or the flags do not fit."""
    if not options.output:
        raise InputError("no file given: name it with -o FILE; its suffix says the format")
    path = Path(options.output)
    kind = format_of(path)
    still = options.time >= 0 or options.frame >= 0
    if still and (options.all or kind.MOVES):
        raise InputError(f"{path}: --time and --frame choose one moment, this writes all of them")
    if options.time >= 0 and options.frame >= 0:
        raise InputError("--time and --frame both choose the moment; give one of them")
    if -1 < options.time < 0:
        raise InputError(f"--time {options.time:g}: expected 0 to 1, or -1 for the canonical model")
    if Path(settings.model.source_path).is_dir():
        require_apart(path, settings.model.source_path)
    return path, kind


def _kept(facts: SceneFacts, method: MethodBase, show: Show, share: float) -> Tensor:
    """(N,) bool, the rows to write: all but the `share` that shows least in the shown and the
    video's frames."""
    weight = torch.zeros(len(method.table), device=method.background.device)
    if share:
        for frame in map(show.load, evenly([*facts.shown, *facts.video], N_WEIGHED)):
            weight += weights(frame.camera, method(frame), antialiased=method.antialiased)
    return heaviest(weight, share)


def _still(
    facts: SceneFacts,
    method: MethodBase,
    options: ExportParams,
    pose: Callable[[Frame], Gaussians],
) -> Gaussians:
    """The moment that the flags choose, or the canonical model."""
    if options.frame >= 0:
        return pose(performance.shown_moment(facts, options.frame))
    if options.time >= 0:
        return pose(performance.at(facts, options.time))
    return with_harmonics(method.exported())


def _about(
    facts: SceneFacts, method: MethodBase, place: Place, pose: Callable[[Frame], Gaussians]
) -> About:
    """How long it lasts, where one looks from, and what its face follows, if it has one."""
    camera = (facts.video or facts.shown)[0].camera
    ahead = float((facts.middle - camera.center) @ camera.forward)
    target = camera.center + max(ahead, 1e-2) * camera.forward
    return About(
        seconds=facts.n_moments / facts.fps,
        antialiased=method.antialiased,
        background=tuple(method.background.tolist()),
        eye=place.point(camera.center),
        target=place.point(target),
        fov=camera.fov_y,
        face=_face(facts, pose) if facts.conditions else None,
    )


def _face(facts: SceneFacts, pose: Callable[[Frame], Gaussians]) -> Face:
    """What the model does at rest, in the moments shown, and where each control goes alone."""
    known = list(facts.conditions.values())
    rest, low, high = (
        torch.cat([getattr(found, end) for found in known]) for end in ("mean", "low", "high")
    )
    shown = torch.stack([_controls(facts, frame) for frame in facts.shown])
    alone = [rest.clone().index_fill_(0, torch.tensor([k]), float(end[k]))
             for end in (low, high) for k in range(len(rest))]  # fmt: skip
    controls = torch.stack([rest, *shown, *alone])
    return Face(
        names=control_names(facts),
        low=low,
        high=high,
        rest=rest,
        performance=shown if len(shown) > 1 else shown.repeat(2, 1),
        controls=controls,
        samples=[pose(_told(facts, row)) for row in controls],
    )


def _controls(facts: SceneFacts, frame: Frame) -> Tensor:
    return torch.cat([getattr(frame, name) for name in facts.conditions])


def _told(facts: SceneFacts, row: Tensor) -> Frame:
    """The first moment shown, its conditions those of the row."""
    parts = row.split([len(found.mean) for found in facts.conditions.values()])
    told = dict(zip(facts.conditions, parts, strict=True))
    return replace(performance.at(facts, 0.0), **told)


def _on(device: torch.device, gaussians: Gaussians) -> Gaussians:
    names = ("means", "quats", "scales", "opacities", "sh")
    return replace(gaussians, **{name: getattr(gaussians, name).to(device) for name in names})


def _cameras(facts: SceneFacts, device: torch.device) -> list:
    """Five of the video's views, or of those shown; fewer are repeated."""
    frames = evenly(facts.video or facts.shown, N_VIEWS)
    return [frames[k % len(frames)].camera.to(device) for k in range(N_VIEWS)]


def _report(files: list[Path], count: int, loss: float) -> None:
    size = sum(file.stat().st_size for file in files)
    name = str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1].name}"
    lost = "exact" if math.isinf(loss) else f"{loss:.1f} dB"
    print(
        f"{name}: {size / 1e6:.2f} MB, {count:,} Gaussians; read again and drawn from "
        f"{N_VIEWS} views: {lost}"
    )


if __name__ == "__main__":
    started()
    settings, options = run_command(
        lambda: parse_model_args("export.py", ExportParams, sys.argv[1:]),
        debug="--debug" in sys.argv,
    )
    run_command(lambda: export_model(settings, options), debug=settings.run.debug)
