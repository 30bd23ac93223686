"""Helpers of the readers' tests."""

import json

import numpy as np
import torch

from arguments.settings import ModelParams
from scene import load_scene
from scene.datasets.auto import params_of
from scene.frames import FrameLoader


def read(dataset, folder, **settings):
    """The scene; settings go where they belong, to ModelParams or to the reader's DataParams."""
    data_params = params_of(dataset)
    own = {k: settings.pop(k) for k in list(settings) if k in data_params.__dataclass_fields__}
    return load_scene(dataset, ModelParams(source_path=str(folder), **settings), data_params(**own))


def decode(scene):
    """Load every picture that the scene names."""
    loader = FrameLoader(64, torch.device("cpu"))
    return [loader.load(frame, torch.ones(3)) for frame in [*scene.train, *scene.test, *scene.val]]


def pixel(camera, xyz):
    """Where a camera of the project sees a world point."""
    p = camera.viewmat.double().numpy() @ np.array([*xyz, 1.0])
    p = camera.K.double().numpy() @ p[:3]
    return p[:2] / p[2]


def edit(file, change):
    """Change what a JSON file holds."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
