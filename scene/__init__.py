"""A scene is data only: frames, starting points, and nothing that learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scene.frames import Frame, PointCloud
from scene.paths import extent
from scene.world import AS_IT_IS, Placed, World
from utils.errors import InputError
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import ModelParams
    from scene.head.model import HeadModel


@dataclass(frozen=True)
class Subject:
    """The person of a head dataset: what does not change from frame to frame."""

    shape: Tensor  # (S,) identity coefficients of the head model, maybe none
    scale: float = 1.0  # world units per metre of the head model (IMavatar: 4)
    model: HeadModel | None = None  # with this shape, in world units; None where no file was named
    misfit: str = ""  # why the coefficients are not those of the model; "" where they may be


@dataclass(frozen=True)
class Scene:
    """What a dataset reader returns. Splits other than `train` may be empty."""

    train: list[Frame]
    test: list[Frame]
    video: list[Frame]  # novel views with time running; no pictures
    points: PointCloud
    val: list[Frame] = field(default_factory=list)
    subject: Subject | None = None
    # name -> (2, 3) box in the head's frame
    regions: dict[str, Tensor] = field(default_factory=dict)
    fps: float = 30.0  # moments per second of the capture: of every video made of it
    world: World = AS_IT_IS  # where the dataset has it

    @property
    def extent(self) -> float:
        """Size of the scene, world units: the unit of learning rates and densification."""
        return extent([frame.camera for frame in self.train])

    @property
    def box(self) -> Tensor:
        """(2, 3) lowest and highest corner of the starting points; a flat side is as long as the
        longest, because planes are read between both ends."""
        low, high = self.points.xyz.amin(0), self.points.xyz.amax(0)
        longest = float((high - low).amax()) or self.extent
        pad = torch.where(high - low > FLAT * longest, 0.0, longest / 2)
        return torch.stack([low - pad, high + pad])

    @property
    def head(self) -> HeadModel | None:
        """The person's head model, in world units, where one follows these frames."""
        if self.subject is None or self.subject.misfit or self.train[0].flame_pose is None:
            return None
        return self.subject.model

    def split(self, name: str) -> list[Frame]:
        return getattr(self, name)


FLAT = 1e-6  # of the longest side of a box
FEWEST_POINTS = 4  # a point and its three nearest neighbours
N_ADDED_POINTS = 100_000
N_DEBUG_FRAMES = 50  # of each split
SPLITS = ("train", "test", "val", "video")


def load_scene(
    dataset: str, params: ModelParams, data: Any = None, *, pictures: bool = True
) -> Scene:
    """Read the folder `params.source_path` with `scene/datasets/<dataset>.py`.

    `data`: the reader's DataParams; None, or those of another family, stand for its defaults.
    Without `pictures` a reader that can do without (its `only_json`) looks for none.
    Raises InputError when the folder is missing or its content is not what the dataset promises.
    """
    if not params.source_path:
        raise InputError("no scene given: name its folder with -s PATH")
    path = found_folder(params)
    reader = import_module(f"scene.datasets.{dataset}")
    if dataset == "auto":
        reader = reader.announced(path).reader
    if not isinstance(data, reader.DataParams):
        data = reader.DataParams()
    if not pictures and hasattr(data, "only_json"):
        data = replace(data, only_json=True)
    scene = _near_the_origin(partial(_read, reader, path, params, data))
    if len(scene.points.xyz) < FEWEST_POINTS:
        raise InputError(
            f"{path}: it starts from {len(scene.points.xyz)} points; at least {FEWEST_POINTS} are "
            "needed to tell their sizes: raise --init_points, or give a file with more"
        )
    if params.add_points:
        scene = replace(scene, points=with_random_points(scene.points, N_ADDED_POINTS))
    return short(scene) if params.is_debug else scene


def found_folder(params: ModelParams) -> Path:
    """The folder that `params.source_path` names.

    A model keeps the path that its training was given; where that is relative to a folder which
    is none of today's, it is looked for beside the model's folder and above.
    """
    path, model = Path(params.source_path), Path(params.model_path).absolute()
    places = [path]
    if params.model_path and (model / "config.json").is_file():
        places += [folder / path for folder in model.parents]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise InputError(
            f"{path}: there is no such folder; name the folder of a dataset with -s PATH"
        )
    return found


def _read(
    reader: ModuleType, path: Path, params: ModelParams, data: Any, world: World = AS_IT_IS
) -> Scene:
    scene = reader.read(path, Placed(**vars(params), world=world), data)
    if not scene.train:
        raise InputError(
            f"{path}: the train split is empty; a scene needs at least one train frame"
        )
    return replace(scene, world=world)


def _near_the_origin(read: Callable[..., Scene]) -> Scene:
    """The scene, read once more in a world of its own where its files have it far away, huge or
    tiny. A head is the origin of its world where it does not move in it; FLAME's unit is the
    metre."""
    scene = read()
    world = _wanted(scene)
    if world == AS_IT_IS:
        return scene
    moved = read(world=world)
    return moved if _wanted(moved) == AS_IT_IS else scene  # a reader may know no other world


def _wanted(scene: Scene) -> World:
    first = scene.train[0]
    return World.around(
        [frame.camera for frame in scene.train],
        scene.points.xyz,
        moves=first.expression is None or first.head_to_world is not None,
        grows=scene.subject is None,
    )


def short(scene: Scene) -> Scene:
    """The first few training frames and the last few of the other splits (GaussianHead's
    --is_debug)."""
    rest = {name: scene.split(name)[-N_DEBUG_FRAMES:] for name in SPLITS if name != "train"}
    return replace(scene, train=scene.train[:N_DEBUG_FRAMES], **rest)


def with_random_points(points: PointCloud, count: int) -> PointCloud:
    """`points` and `count` more, uniform in their box, of random colours (4DGS's --add_points)."""
    low, high = points.xyz.amin(0), points.xyz.amax(0)
    place, rgb = torch.rand(2, count, 3, generator=generator(0, "added points"))
    xyz = torch.cat([points.xyz, torch.lerp(low, high, place)])
    return replace(points, xyz=xyz, rgb=torch.cat([points.rgb, rgb]))
