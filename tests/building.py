"""Methods as train.py builds them."""

import torch

from scene.facts import SceneFacts
from scene.methods import make_method, require_needs

CPU = torch.device("cpu")


def built(scene, settings, device=CPU):
    """An untrained method of the scene; InputError where the scene lacks what it needs."""
    require_needs(scene, settings)
    return make_method(facts_of(scene, settings), settings, device, scene.points)


def facts_of(scene, settings):
    return SceneFacts.from_scene(scene, settings.dataset)
