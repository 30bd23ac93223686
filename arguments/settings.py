"""Every setting that all families and methods share: declared once, with the text of `--help`.

With the same `setting` a reader declares its `DataParams` in `scene/datasets/<name>.py`, a method
its `ModelHiddenParams` and `OptimizationParams` in `scene/methods/<name>.py`. Names are unique
across the sections, so each is one flag.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

Valid = tuple[Callable[[Any], bool], str]  # the test a value must pass, and its words


def at_least(low: float) -> Valid:
    """The value (each item of a list) is at least `low`."""
    return (lambda value: value >= low), f"at least {low}"


def between(low: float, high: float) -> Valid:
    """The value is in [low, high]."""
    return (lambda value: low <= value <= high), f"from {low} to {high}"


def one_of(*values: str) -> Valid:
    """The value is one of these words."""
    return (lambda value: value in values), f"one of {', '.join(values)}"


def about(
    help: str,
    *,
    valid: Valid | None = None,
    changes_result: bool = True,
    is_path: bool = False,
) -> dict[str, Any]:
    """A field's metadata: its meaning, in the words that `--help` prints.

    `valid`: the range beyond what the type says, of each number in a list or a dict.
    `changes_result`: False where a run may go on with another value. `is_path`: compared as a
    path, and `~` is the home folder.
    """
    return {"help": help, "valid": valid, "changes_result": changes_result, "is_path": is_path}


def setting(default: Any, help: str, **options: Any) -> Any:
    """A dataclass field with a default, which may be a list or a dict, and `about(help,
    **options)`."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: deepcopy(default), metadata=about(help, **options))
    return field(default=default, metadata=about(help, **options))


def count(default: Any, help: str) -> Any:
    """A `setting` of at least 1."""
    return setting(default, help, valid=at_least(1))


def weight(default: Any, help: str) -> Any:
    """A `setting` of at least 0; what weighs nothing is off."""
    return setting(default, help, valid=at_least(0))


def again(group: type, name: str, default: Any) -> Any:
    """The setting `name` of a shared group with another default; words and range stay."""
    (shared,) = [found for found in fields(group) if found.name == name]
    return setting(default, **shared.metadata)


@dataclass(frozen=True)
class ModelParams:
    """The scene, and how it is read whatever its family."""

    source_path: str = setting("", "dataset folder", is_path=True)
    model_path: str = setting(
        "",
        "output folder; if empty output/<expname>, and without that the last two parts of "
        "source_path: data/dnerf/lego gives output/dnerf/lego",
        changes_result=False,
        is_path=True,
    )
    resolution: int = setting(
        -1,
        "1, 2, 4 or 8 divides the images' size, another number is their new width in pixels, "
        "-1 keeps the files' size",
        valid=(lambda value: value == -1 or 1 <= value <= 16_384, "-1 or from 1 to 16384"),
    )
    white_background: bool = setting(True, "composite on white; otherwise on black")
    eval: bool = setting(True, "hold the test frames out; otherwise train on them too")
    sh_degree: int = setting(3, "highest degree of the spherical harmonics", valid=between(0, 3))
    init_points: int = setting(
        2_000,
        "random points to start from where the folder has no point cloud",
        valid=at_least(1),
    )
    add_points: bool = setting(
        False, "add 100,000 random points inside the box of the initial points"
    )
    is_debug: bool = setting(
        False, "at most 50 frames of each split, to see whether a run gets through"
    )

    short_flags: ClassVar[dict[str, str]] = {
        "source_path": "-s",
        "model_path": "-m",
        "resolution": "-r",
        "white_background": "-w",
    }
    without_effect: ClassVar[dict[str, str]] = {
        "data_device": "images wait in the bounded cache and move one batch at a time",
        "render_process": "a contact sheet is always written at the test iterations",
    }


@dataclass(frozen=True)
class PipelineParams:
    """How frames are drawn, in training and ever after."""

    antialiased: bool = setting(
        False,
        "Gaussians smaller than a pixel get fainter as they shrink (Mip-Splatting's 2D filter); "
        "otherwise they stay dots of their opacity",
    )

    without_effect: ClassVar[dict[str, str]] = {
        "convert_SHs_python": "the rasterizer evaluates SH, in the reference it crashes",
        "compute_cov3D_python": "the rasterizer builds covariances, in the reference it crashes",
    }


@dataclass(frozen=True)
class RunParams:
    """This run: where, how long, how loud. Only `seed` changes what is learned."""

    configs: str = setting(
        "", "config file, e.g. arguments/dnerf/lego.py", changes_result=False, is_path=True
    )
    expname: str = setting("", "name of the output folder under output/", changes_result=False)
    seed: int = setting(0, "of every random choice", valid=at_least(0))
    device: str = setting(
        "auto",
        "cpu, cuda, cuda:1, ...; auto takes a GPU where our kernels run on one, else the CPU",
        changes_result=False,
    )
    restart: bool = setting(
        False, "begin anew where the output folder holds an unfinished run", changes_result=False
    )
    start_checkpoint: str = setting(
        "", "checkpoint to go on from", changes_result=False, is_path=True
    )
    test_iterations: list[int] = field(
        default_factory=lambda: [3_000, 7_000, 14_000],
        metadata=about(
            "score the test frames and write a contact sheet at these steps",
            valid=at_least(0),
            changes_result=False,
        ),
    )
    save_iterations: list[int] = field(
        default_factory=lambda: [14_000, 20_000, 30_000, 45_000, 60_000],
        metadata=about(
            "write the model at these steps; the last step is always among them",
            valid=at_least(0),
            changes_result=False,
        ),
    )
    checkpoint_iterations: list[int] = field(
        default_factory=list,
        metadata=about(
            "keep a checkpoint of these steps for good", valid=at_least(0), changes_result=False
        ),
    )
    checkpoint_every: int = setting(
        500,
        "steps between the checkpoints an interrupted run resumes from",
        valid=at_least(1),
        changes_result=False,
    )
    cache_mb: int = setting(
        1_024, "memory for decoded images, in MiB", valid=at_least(0), changes_result=False
    )
    viewer: bool = setting(False, "follow the training in a browser", changes_result=False)
    ip: str = setting("127.0.0.1", "address that the live viewer listens on", changes_result=False)
    port: int = setting(
        6_009,
        "port of the live viewer; 0 takes any free one",
        valid=between(0, 65_535),
        changes_result=False,
    )
    quiet: bool = setting(False, "print errors only", changes_result=False)
    debug: bool = setting(False, "show the traceback of an error", changes_result=False)
    debug_from: int = setting(
        -1,
        "check every tensor of a step from this step on; -1 never does",
        valid=at_least(-1),
        changes_result=False,
    )
    detect_anomaly: bool = setting(
        False, "name the operation that made a NaN in backward (slow)", changes_result=False
    )


@dataclass(frozen=True)
class RenderParams:
    """What render.py draws."""

    iteration: int = setting(-1, "step of the saved model; -1 is the last", valid=at_least(-1))
    skip_train: bool = setting(False, "leave the training frames out")
    skip_test: bool = setting(False, "leave the test frames out")
    skip_val: bool = setting(False, "leave the val frames out, where the scene has any")
    skip_video: bool = setting(False, "leave the video along the novel path out")
    depth: bool = setting(False, "write depth maps too")
    novel_view: bool = setting(False, "of an avatar: turn it about its upright axis")
    novel_expression: bool = setting(
        False,
        "of an avatar: sweep every expression coefficient by itself; writes a labelled grid, too",
    )
    drive: str = setting(
        "",
        "of an avatar: a head dataset whose expressions and poses it shall perform",
        is_path=True,
    )
    reenact: str = setting(
        "",
        "of an avatar: another sequence of the same subject, performed before that one's cameras; "
        "metrics.py scores it",
        is_path=True,
    )
    fit: int = setting(
        0,
        "draw the frames of reenact once more, after so many steps each that fit expression, head "
        "pose and body motion to their pictures, and score them as reenactment_fitted; 30 are "
        "enough",
        valid=at_least(0),
    )
    path: str = setting(
        "",
        "camera path that the viewer saved (JSON), to be drawn; writes a folder path",
        is_path=True,
    )
    points: bool = setting(
        False,
        "draw what the Gaussians ride on over the held-out moments, and write it: a PLY a moment, "
        "and its coefficients as JSON (NPG)",
    )
    tracks: bool = setting(False, "draw the paths of a hundred Gaussians through the clip")
    novel_time: list[float] = setting(
        [], "draw these moments, 0 to 1, whether the dataset has them or not", valid=between(0, 1)
    )
    freeze: float = setting(
        -1.0,
        "moment, 0 to 1, at which the sequence stands still along the video's path; writes a "
        "folder frozen; -1: none",
        valid=between(-1, 1),
    )
    sides: int = setting(
        0,
        "places on the video's path from which five moments are shown on one contact sheet; "
        "writes a folder sides",
        valid=between(0, 36),
    )
    refine_test: int = setting(
        0,
        "draw the test frames once more, after so many steps in which what was learned per moment "
        "is fitted to their pictures, and score them as test_refined (MonoGaussianAvatar: 20)",
        valid=at_least(0),
    )
    video_only: bool = setting(False, "write videos and no pictures; metrics.py needs pictures")
    turn: float = setting(
        30.0, "degrees that novel_view turns to either side", valid=between(0, 180)
    )
    playing: bool = setting(
        True, "novel_view lets the held-out sequence run; otherwise it stands still"
    )
    drive_dataset: str = setting("auto", "reader of the dataset of drive and reenact")
    drive_mean: bool = setting(True, "replace the driver's mean expression by the avatar's own")
    drive_clamp: bool = setting(True, "hold every coefficient in the range that training showed")


@dataclass(frozen=True)
class ExportParams:
    """What export.py writes."""

    output: str = setting("", "file to write; its suffix says the format", is_path=True)
    iteration: int = setting(-1, "step of the saved model; -1 is the last", valid=at_least(-1))
    time: float = setting(
        -1.0,
        "moment of the performance, 0 to 1, of a format that stands still; -1 is the canonical one",
        valid=between(-1, 1),
    )
    frame: int = setting(-1, "held-out moment by its number, in place of time", valid=at_least(-1))
    all: bool = setting(False, "a numbered sequence of files, one a moment")
    moments: int = setting(
        0,
        "moments of a sequence and of a format that moves; 0: 30, or 60 for a page",
        valid=(lambda value: value == 0 or 2 <= value <= 1_000, "0 or from 2 to 1000"),
    )
    prune: float = setting(
        0.0,
        "share of the Gaussians left out: those that show least in the model's own views",
        valid=between(0, 0.95),
    )
    modes: int = setting(
        0,
        "of a page: by how many numbers a moment moves all Gaussians; 0: 14, or 20 for a face",
        valid=between(0, 60),
    )
    pad: bool = setting(False, "pad the harmonics to degree 3, which some viewers insist on")
    axes: str = setting(
        "upright",
        "upright: turned as the viewers of the format expect; dataset: as the dataset has it",
        valid=one_of("upright", "dataset"),
    )

    short_flags: ClassVar[dict[str, str]] = {"output": "-o"}


@dataclass(frozen=True)
class ViewParams:
    """What view.py shows."""

    iteration: int = setting(-1, "step of the saved model; -1 is the last", valid=at_least(-1))
    beside: str = setting("", "output folder of a second model, shown beside", is_path=True)
    posed_mb: int = setting(
        512,
        "memory for posed Gaussians, in MiB, of each model: a moment seen again is only drawn",
        valid=at_least(0),
    )


@dataclass(frozen=True)
class Settings:
    """One run's settings, complete: defaults, config file and command line merged."""

    dataset: str  # scene/datasets/<dataset>.py
    method: str  # scene/methods/<method>.py
    model: ModelParams
    data: Any  # the reader's DataParams
    pipeline: PipelineParams
    hidden: Any  # the method's ModelHiddenParams
    optim: Any  # the method's OptimizationParams
    run: RunParams
