"""What a trained model knows of its scene: shapes, statistics and cameras, never a picture but a
plate.

`scene.json` and `scene.safetensors` stand beside `model.safetensors`; with them a model folder can
be drawn, turned, swept and driven where its dataset is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import Camera
from scene.frames import HEAD, NO_ROW, Frame, FrameLoader, head_motion
from scene.paths import common_up, poses
from scene.world import AS_IT_IS, World
from utils.devices import CPU
from utils.errors import InputError
from utils.files import read_json, write_json
from utils.tensors import read_tensors, under, write_tensors

RANGE = (0.02, 0.98)  # quantiles that count as the training range: trackers have outliers
CONDITIONS = ("flame_pose", "expression")  # fields of `Frame` that a method may be told
# tensors that a frame without a picture keeps
CARRIED = (*CONDITIONS, "head_to_world", "body_to_world")
STILL = 1e-5  # radians or world units; a head that moves less stands still before its camera
N_SHOWN = 120  # moments of the performance that a turn plays, at most
FILES = ("scene.json", "scene.safetensors")


@dataclass(frozen=True)
class Statistics:
    """Of a vector that every training frame has; each (E,)."""

    mean: Tensor
    spread: Tensor  # standard deviation over the training frames
    low: Tensor  # ends of the training range: the quantiles `RANGE`
    high: Tensor
    least: Tensor | None = None  # of all training frames; None where an older version wrote this
    most: Tensor | None = None


@dataclass(frozen=True)
class SceneFacts:
    """Everything that a method and what shows it ask of a scene, but its pictures and points."""

    family: str  # scene/datasets/<family>.py
    box: Tensor  # (2, 3) lowest and highest corner of the starting points, world units
    middle: Tensor  # (3,) their median
    extent: float  # radius of the cameras' places, world units: the unit of rates and sizes
    n_views: int  # of the training split
    n_moments: int  # rows of tables that learn something per moment
    trained: Tensor  # (M,) int64, the moments that training frames show
    up: Tensor  # (3,) the world's upright direction, as the training cameras are held
    eye: Tensor  # (3,) mean place of the training cameras
    fps: float
    conditions: dict[str, Statistics] = field(default_factory=dict)  # by name of the frame's field
    together: Tensor | None = None  # (N, N) how far the numbers of all conditions, one behind the
    # other, go where that of a row goes by 1 and the head stays turned: slopes over training frames
    head_motion: Statistics | None = None  # of the head against the body, where that is known
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of coefficients, where known
    regions: dict[str, Tensor] = field(default_factory=dict)  # (2, 3) boxes in the head's frame
    subject: Subject | None = None  # without its head model's data
    head_model: str = ""  # fingerprint of that head model
    world: World = AS_IT_IS  # where the dataset has the scene
    plate: Tensor | None = None  # (3, H, W) in [0, 1] the empty room, where pictures show one
    video: list[Frame] = field(default_factory=list)  # novel views with time running
    shown: list[Frame] = field(default_factory=list)  # the held-out moments, or the trained ones

    @property
    def one_camera(self) -> bool:
        """Whether no moment of the training split was seen twice."""
        return self.n_views == len(self.trained)

    @classmethod
    def from_scene(cls, scene: Scene, family: str = "") -> SceneFacts:
        """The facts of a scene. Its plate, if any, is decoded at the size of the first frame
        shown."""
        frames, subject = scene.train, scene.subject
        cameras = [frame.camera for frame in frames]
        model = subject.model if subject else None
        every = (*frames, *scene.test, *scene.val)
        shown = moments(scene.test or frames)
        rows = sorted({frame.index for frame in frames} - {NO_ROW})
        return cls(
            family=family,
            box=scene.box,
            middle=scene.points.xyz.median(0).values,
            extent=scene.extent,
            n_views=len(frames),
            n_moments=1 + max(frame.index for frame in every),
            trained=torch.tensor(rows, dtype=torch.int64),
            up=common_up(cameras),
            eye=poses(cameras)[:, :3, 3].mean(0),
            fps=scene.fps,
            conditions=statistics(frames),
            together=_together(frames),
            head_motion=_head_motion(frames),
            names={"expression": model.expression_names} if model else {},
            regions=dict(scene.regions),
            subject=replace(subject, model=None) if subject else None,
            head_model=model.fingerprint() if model else "",
            world=scene.world,
            plate=_plate(shown[0]),
            video=[without_picture(frame) for frame in scene.video],
            shown=[without_picture(frame) for frame in evenly(shown, N_SHOWN)],
        )

    def write(self, folder: Path) -> None:
        """Write both files into `folder`; raises OSError or SafetensorError where that fails."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        tensors |= {f"regions.{name}": box for name, box in self.regions.items()}
        for name, found in self.conditions.items():
            tensors |= _given(f"conditions.{name}.", found)
        if self.together is not None:
            tensors["together"] = self.together
        if self.head_motion is not None:
            tensors |= _given("head_motion.", self.head_motion)
        if self.plate is not None:
            tensors["plate"] = (self.plate * 255).round().to(torch.uint8)
        if self.subject is not None:
            tensors["subject.shape"] = self.subject.shape
        tensors |= _packed("video.", self.video) | _packed("shown.", self.shown)
        values = {name: getattr(self, name) for name in _VALUES}
        if self.world != AS_IT_IS:
            values["world"] = [*self.world.origin, self.world.unit]
        values["scale"] = self.subject.scale if self.subject else None
        write_json(folder / FILES[0], values)
        write_tensors(folder / FILES[1], tensors)

    @classmethod
    def read(cls, folder: Path) -> SceneFacts | None:
        """What `write` wrote into `folder`; None where an older version wrote none.

        Raises InputError naming the file that is damaged.
        """
        file = folder / FILES[0]
        if not file.is_file():
            return None
        values, tensors = read_json(file), read_tensors(folder / FILES[1])
        try:
            return _assembled(values, tensors)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise InputError(
                f"{file}: it does not fit {FILES[1]} beside it ({error!r}); copy the folder again, "
                "or train once more"
            ) from None


_TENSORS = {"box": 2, "middle": 1, "trained": 1, "up": 1, "eye": 1}  # number of axes
_VALUES = {
    "family": str, "extent": (int, float), "n_views": int, "n_moments": int, "fps": (int, float),
    "names": dict, "head_model": str,
}  # fmt: skip


def given(frames: list[Frame], name: str) -> bool:
    """Whether every frame has the field."""
    return all(getattr(frame, name) is not None for frame in frames)


def statistics(frames: list[Frame], names: Sequence[str] = CONDITIONS) -> dict[str, Statistics]:
    """Of the fields, among these, that every frame has."""
    names = [name for name in names if given(frames, name)]
    if not names:
        return {}
    table = _table(frames, names)
    widths = [len(getattr(frames[0], name)) for name in names]
    parts = zip(*(values.split(widths) for values in vars(_over(table)).values()), strict=True)
    return {name: Statistics(*part) for name, part in zip(names, parts, strict=True)}


def _table(frames: list[Frame], names: Sequence[str]) -> Tensor:
    """(T, N) the fields of every frame, one behind the other."""
    return torch.stack([torch.cat([getattr(frame, name) for name in names]) for frame in frames])


def _together(frames: list[Frame]) -> Tensor | None:
    """(N, N) slopes: how far all that frames are told goes on average where the number of a row
    goes by 1. What the head's turn alone explains is taken out first; 0 for what never varies."""
    names = [name for name in CONDITIONS if given(frames, name)]
    if not names:
        return None
    table = _table(frames, names).double()
    off = table - table.mean(0)
    if "flame_pose" in names:  # the first of `CONDITIONS`
        turn = off[:, :HEAD]
        off = off - turn @ (torch.linalg.pinv(turn) @ off)
    shared = off.T @ off / len(off)
    own = shared.diagonal()[:, None]
    return torch.where(own > STILL**2, shared / own.clamp(min=STILL**2), 0).float()


def _over(table: Tensor) -> Statistics:
    """Of the rows of a table (T, E)."""
    low, high = torch.quantile(table, table.new_tensor(RANGE), dim=0)
    spread = table.std(0, correction=0)
    return Statistics(table.mean(0), spread, low, high, table.amin(0), table.amax(0))


def _given(prefix: str, found: Statistics) -> dict[str, Tensor]:
    """What the statistics hold, by name."""
    return {prefix + name: value for name, value in vars(found).items() if value is not None}


def _head_motion(frames: list[Frame]) -> Statistics | None:
    """Of the head against a body at rest (6,); None where no frame says where that is, or where
    nothing moves."""
    if not given(frames, "body_to_world"):
        return None
    found = _over(torch.stack([head_motion(frame.body_to_world) for frame in frames]))
    return found if float(found.spread.max()) > STILL else None


def moments(frames: list[Frame]) -> list[Frame]:
    """One frame of each moment, in time order: rigs have several, from camera to camera."""
    first: dict[int, Frame] = {}
    for frame in frames:
        first.setdefault(frame.index, frame)
    return sorted(first.values(), key=lambda frame: frame.time)


def evenly(frames: list[Frame], count: int) -> list[Frame]:
    """At most `count` frames, evenly spaced over the list."""
    count = min(count, len(frames))
    return [frames[k * len(frames) // count] for k in range(count)]


def without_picture(frame: Frame) -> Frame:
    """The frame as its camera would see the model alone."""
    return replace(frame, image_path=None, mask=None, parsing=None, lens=None, plate_path=None)


def _plate(frame: Frame) -> Tensor | None:
    if frame.plate_path is None:
        return None
    return FrameLoader(0, CPU).load(replace(frame, image_path=None), torch.zeros(3)).background


def _packed(prefix: str, frames: list[Frame]) -> dict[str, Tensor]:
    """The frames as one tensor per field, cameras included; nothing for no frames."""
    if not frames:
        return {}
    cameras = [frame.camera for frame in frames]
    columns = {
        "viewmat": torch.stack([camera.viewmat for camera in cameras]),
        "K": torch.stack([camera.K for camera in cameras]),
        "size": torch.tensor([[camera.width, camera.height] for camera in cameras]),
        "clip": torch.tensor([[c.near, c.far] for c in cameras], dtype=torch.float64),
        "index": torch.tensor([frame.index for frame in frames]),
        "time": torch.tensor([frame.time for frame in frames], dtype=torch.float64),
    }
    for name in CARRIED:
        if given(frames, name):
            columns[name] = torch.stack([getattr(frame, name) for frame in frames])
    return {prefix + name: column for name, column in columns.items()}


def _unpacked(columns: Mapping[str, Tensor]) -> list[Frame]:
    if not columns:
        return []
    sizes, clips = columns["size"].tolist(), columns["clip"].tolist()
    times, rows = columns["time"].tolist(), columns["index"].tolist()
    return [
        Frame(
            Camera(viewmat, K, *sizes[k], *clips[k]), rows[k], times[k],
            **{name: columns[name][k] for name in CARRIED if name in columns},
        )
        for k, (viewmat, K) in enumerate(zip(columns["viewmat"], columns["K"], strict=True))
    ]  # fmt: skip


def _assembled(values: dict, tensors: dict[str, Tensor]) -> SceneFacts:
    wrong = [name for name, kind in _VALUES.items() if not isinstance(values[name], kind)]
    wrong += [name for name, n_axes in _TENSORS.items() if tensors[name].ndim != n_axes]
    if wrong:
        raise TypeError(f"not what was written: {', '.join(wrong)}")
    x, y, z, unit = values.get("world", (0.0, 0.0, 0.0, 1.0))
    shape, plate = tensors.get("subject.shape"), tensors.get("plate")
    moving = under(tensors, "head_motion.")
    return SceneFacts(
        **{name: tensors[name] for name in _TENSORS},
        **{name: values[name] for name in _VALUES if name != "names"},
        names={name: tuple(words) for name, words in values["names"].items()},
        conditions={
            name: Statistics(**under(tensors, f"conditions.{name}."))
            for name in CONDITIONS
            if f"conditions.{name}.mean" in tensors
        },
        together=tensors.get("together"),
        head_motion=Statistics(**moving) if moving else None,
        regions=under(tensors, "regions."),
        subject=None if shape is None else Subject(shape, values["scale"]),
        world=World((float(x), float(y), float(z)), float(unit)),
        plate=None if plate is None else plate.float() / 255,
        video=_unpacked(under(tensors, "video.")),
        shown=_unpacked(under(tensors, "shown.")),
    )
