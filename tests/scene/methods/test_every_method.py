"""What holds for every method: it is built from facts alone, takes a saved state and poses to its
bits."""

from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from scene import load_scene
from scene.methods import make_method
from tests.building import CPU, built, facts_of
from utils.errors import InputError

FIELDS = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(scope="module")
def made(case, tiny_folder):
    """Settings, scene and a method of it whose numbers are disturbed."""
    flags = [*case.flags(iterations=60, first=30), "--init_points", "50"]
    settings = parse_train_args(["-s", str(tiny_folder), "-m", "unused", *flags])
    scene = load_scene(settings.dataset, settings.model)
    method = built(scene, settings)
    for step in (1000, 2000, 2500):
        method.on_step(step)
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
    return settings, scene, method


def state_of(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def test_a_method_of_facts_alone_has_no_rows_and_a_loaded_one_poses_to_the_same_bits(made):
    settings, scene, method = made
    alone = make_method(facts_of(scene, settings), settings, CPU)
    assert len(alone.table) == 0
    alone.load(state_of(method))
    assert (alone.at_step, alone.drawn_sh_degree) == (2500, 2)
    for frame in [*scene.train, *scene.test, *scene.video[:5]]:
        ours, theirs = method(method.prepare(frame)), alone(alone.prepare(frame))
        for name in FIELDS:
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    ours, theirs = method.exported(), alone.exported()
    assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in FIELDS)


def test_what_is_exported_has_all_bands_of_its_harmonics(made):
    _, _, method = made
    shown = method.exported()
    assert shown.sh.shape == (50, 16, 3)
    assert shown.sh_degree == 3


@pytest.mark.parametrize(
    ("missing", "step", "degree"), [("step", 0, 2), ("active_sh_degree", 2500, 2)]
)
def test_a_state_that_knows_the_step_or_the_degree_is_taken_over(made, missing, step, degree):
    settings, scene, method = made
    state = state_of(method)
    del state[missing]
    again = built(scene, settings)
    again.load(state)
    assert (again.at_step, again.drawn_sh_degree) == (step, degree)
    assert (int(again.step), int(again.active_sh_degree)) == (step, degree)


def test_a_state_of_other_shapes_is_refused_with_both(made):
    settings, scene, method = made
    state = state_of(method)
    name = next(name for name in state if not name.startswith("table.") and state[name].ndim)
    state[name] = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 4\), expected"):
        built(scene, settings).load(state)


def test_without_training_nothing_is_needed_of_the_scene(made):
    """Whoever only shows a model is not asked for what training needs."""
    settings, scene, _ = made
    blind = replace(scene, train=[replace(f, time=None, expression=None) for f in scene.train])
    with pytest.raises(
        InputError, match=r"which dataset '\w+' does not give; use another dataset or method"
    ):
        built(blind, settings)
    assert len(make_method(facts_of(scene, settings), settings, CPU).table) == 0
