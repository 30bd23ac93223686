"""A scene is data only: frames, starting points, and nothing that learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from scene import cameras
from scene.frames import Frame, PointCloud
from utils.errors import InputError

if TYPE_CHECKING:
    from arguments.settings import ModelParams


@dataclass(frozen=True)
class Scene:
    """What a dataset reader returns. Splits other than `train` may be empty."""

    train: list[Frame]
    test: list[Frame]
    video: list[Frame]  # novel views with time running; no pictures
    points: PointCloud
    val: list[Frame] = field(default_factory=list)

    @property
    def extent(self) -> float:
        """Size of the scene, world units: the unit of learning rates and densification."""
        return cameras.extent([frame.camera for frame in self.train])

    def split(self, name: str) -> list[Frame]:
        return getattr(self, name)


SPLITS = ("train", "test", "val", "video")


def load_scene(dataset: str, params: ModelParams) -> Scene:
    """Read the folder `params.source_path` with `scene/datasets/<dataset>.py`.

    Raises InputError when the folder is missing or its content is not what the dataset promises.
    """
    if not params.source_path:
        raise InputError("no scene given: name its folder with -s PATH")
    path = Path(params.source_path)
    if not path.is_dir():
        raise InputError(f"{path}: there is no such folder; name the scene's folder with -s PATH")
    scene = import_module(f"scene.datasets.{dataset}").read(path, params)
    if not scene.train:
        raise InputError(f"{path}: the train split is empty; a scene needs at least one train frame")
    return scene
