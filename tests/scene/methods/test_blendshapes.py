"""Linear bases: what each number moves, what decides the weights, and how a model is kept."""

import math
from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer import render
from scene import load_scene
from scene.deformation.body import COLUMN
from scene.gaussian_model import activate
from scene.methods import as_half, make_method, read_method
from scene.methods.blendshapes import NUMBERS
from tests.building import CPU, built, facts_of
from tests.tiny_scene import write_tiny_flame_head, write_tiny_head, write_tiny_scene
from training.checkpoint import Checkpoints
from training.losses import l1
from training.optimizers import Optimizers
from utils.errors import InputError
from utils.rotations import rigid_inverse, twist_to_pose
from utils.tensors import read_tensors

ALONE = ("--n_bases", "1", "--bases_lr_init", "1")
FIELDS = ("means", "quats", "scales", "opacities", "sh")
ARGV = "--method blendshapes --init_points 100 --n_bases 5 --mix_width 8 --body_part false"
ARGV = ARGV.split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_head(tmp_path_factory.mktemp("data") / "tiny")


def build(folder, *flags, disturbed=True):
    """A method with all bands of its harmonics, its scene and its settings."""
    settings = parse_train_args(["-s", str(folder), *ARGV, *flags])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = built(scene, settings)
    method.draw_sh_degree(settings.model.sh_degree)
    if disturbed:
        with torch.no_grad():
            source = torch.Generator().manual_seed(0)
            bases, code = method.table.columns["bases"], method.code.layer.weight
            bases.copy_(5 * torch.randn(bases.shape, generator=source))
            code.copy_(0.5 * torch.randn(code.shape, generator=source))
    return method, scene, settings


def same(a, b):
    return {
        name for name in FIELDS if torch.allclose(getattr(a, name), getattr(b, name), atol=1e-6)
    }


def weights_of(method, frame):
    """(K,) by the words of the method's page."""
    known = method.facts.conditions["expression"]
    x = (frame.expression - known.mean) / known.spread.clamp(min=1e-6) * (known.spread > 1e-6)
    code = method.code.layer.weight @ x + method.code.layer.bias
    hidden = code.clamp(min=0) if method.hidden.mix_relu else code
    return method.mix.weight @ hidden + method.mix.bias


def test_untrained_bases_move_nothing(folder):
    method, scene, _ = build(folder, disturbed=False)
    for frame in scene.train[::5]:
        assert same(method(frame), method.canonical(frame)) == set(FIELDS)


def test_linear_weights_follow_no_coefficient_before_training(folder):
    """Directions that training does not show must not keep what chance gave them."""
    for flags, zero in (((), True), (("--mix_relu",), False), (("--code_noise", "0.1"), True)):
        method, _, _ = build(folder, *flags, disturbed=False)
        assert (method.code.layer.weight == 0).all() == zero


@pytest.mark.parametrize("relu", ["false", "true"])
def test_every_number_moves_its_own_column_by_its_weight_in_steps_of_that_column(folder, relu):
    method, scene, settings = build(folder, "--mix_relu", relu, disturbed=False)
    frame, columns, first = scene.train[2], method.table.columns, 0
    with torch.no_grad():
        method.code.layer.weight.fill_(0.1)
    rates = settings.optim.column_rates(method.facts.extent, settings.optim.iterations)
    for name, count in NUMBERS.items():
        bases = torch.zeros(100, 5, sum(NUMBERS.values()))
        bases[:, :, first : first + count] = torch.randn(100, 5, count)
        moved = (bases * weights_of(method, frame)[:, None]).sum(1)[:, first : first + count]
        moved = columns[name] + rates[name](1) * moved.reshape(columns[name].shape)
        with torch.no_grad():
            columns["bases"].copy_(bases)
        expected = activate({**columns, name: moved}, method.drawn_sh_degree)
        found = method(frame)
        for field in FIELDS:
            torch.testing.assert_close(getattr(found, field), getattr(expected, field))
        assert len(same(found, method.canonical(frame))) == len(FIELDS) - 1
        first += count


def test_the_expression_decides_and_neither_time_nor_index_does(folder):
    method, scene, _ = build(folder)
    first, other = scene.train[0], scene.train[-1]
    moved = replace(first, expression=other.expression)
    later = replace(first, time=other.time, index=other.index)
    assert same(method(first), method(moved)) == set()
    assert same(method(first), method(later)) == set(FIELDS)


def test_the_pose_decides_where_it_is_asked_for(tmp_path):
    folder = write_tiny_flame_head(tmp_path / "tiny")
    for flags, known in (((), False), (("--flame_pose_input",), True)):
        method, scene, _ = build(folder, *flags)
        moved = replace(scene.train[0], flame_pose=scene.train[-1].flame_pose)
        assert (same(method(scene.train[0]), method(moved)) == set()) == known


def test_what_is_exported_has_the_mean_expression(folder):
    method, scene, _ = build(folder)
    mean = replace(scene.train[0], expression=method.facts.conditions["expression"].mean)
    exported = method.exported()
    method.settle()
    assert same(exported, method(mean)) == set(FIELDS)


def test_a_first_step_moves_what_is_drawn_by_the_rates_of_the_columns(folder):
    """Adam's first step is its rate in every number, whatever the gradient."""
    method, scene, settings = build(folder, *ALONE, disturbed=False)
    with torch.no_grad():
        method.mix.weight.zero_()
        method.mix.bias.fill_(1.0)
    still = {name: column.clone() for name, column in method.table.columns.items()}
    optimizers = Optimizers([g for g in method.stages()[1].params if g.name == "bases"])
    found = method(scene.train[0])
    sum(getattr(found, name).sum() for name in ("means", "opacities")).backward()
    optimizers.step()
    moved = method(scene.train[0])
    rates = settings.optim.column_rates(method.facts.extent, settings.optim.iterations)
    way = (still["means"] - moved.means).abs()
    torch.testing.assert_close(way, torch.full_like(way, rates["means"](1)), rtol=1e-3, atol=1e-6)
    fade = still["opacity_logits"] - moved.opacities.logit()
    torch.testing.assert_close(fade, torch.full_like(fade, 0.05), rtol=1e-3, atol=1e-5)


def test_gradients_reach_every_parameter(folder):
    method, scene, _ = build(folder, "--refine_expression")
    found = method(method.prepare(scene.train[1]))
    sum((getattr(found, k).flatten() * torch.linspace(-1, 1, getattr(found, k).numel())).sum()
        for k in FIELDS).backward()  # fmt: skip
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_model_on_its_own_keeps_bases_in_float16_and_poses_as_it_did_in_training(
    folder, tmp_path
):
    method, scene, settings = build(folder)
    stage, facts = method.stages()[-1], facts_of(scene, settings)
    checkpoints = Checkpoints(tmp_path, method.stages(), settings.run, "scene")
    out = checkpoints.export(stage, stage.iterations, method, facts)
    kept = read_tensors(out / "model.safetensors")["table.columns.bases"]
    assert kept.dtype == torch.float16
    assert torch.equal(kept, method.table.columns["bases"].half())
    alone = read_method(out, facts, settings, CPU)
    assert alone.table.columns["bases"].dtype == torch.float16
    exact = make_method(facts, settings, CPU)
    exact.load(method.state_dict() | {"table.columns.bases": kept.float()})
    for frame in scene.test:
        found, near, true = alone(frame), method(frame), exact(frame)
        for name in FIELDS:
            torch.testing.assert_close(getattr(found, name), getattr(true, name))
            torch.testing.assert_close(
                getattr(found, name), getattr(near, name), rtol=1e-2, atol=1e-3
            )


def test_numbers_beyond_float16_end_at_its_end():
    values = torch.tensor([1e6, -1e6, 65504.0, 1.0])
    assert as_half(values).tolist() == [65504.0, -65504.0, 65504.0, 1.0]


def test_bases_learn_what_a_coefficient_does_and_carry_it_to_values_between(folder):
    """A Gaussian moves by a coefficient in every other frame; the frames between are drawn."""
    method, scene, _ = build(folder, "--init_points", "30", "--sh_degree", "0", disturbed=False)
    with torch.no_grad():
        method.table.columns["opacity_logits"].fill_(2.0)
        side = float((method.facts.box[1] - method.facts.box[0]).max())
        method.table.columns["log_scales"].fill_(math.log(0.08 * side))
    frame = replace(scene.train[0], background=torch.ones(3))
    still = method.canonical(frame)
    known = method.facts.conditions["expression"]

    def shown(part):
        """The frame with a coefficient `part` of the way over its range, and its true picture."""
        expression = known.mean.clone()
        expression[0] += (2 * part - 1) * known.spread[0]
        truth = replace(still, means=still.means + torch.tensor([0, 0, side * (part - 0.5) / 5]))
        view = render(frame.camera, truth, frame.background)
        return replace(frame, expression=expression, image=view.image.detach())

    taught, between = [shown(k / 6) for k in (0, 2, 4, 6)], [shown(k / 6) for k in (1, 3, 5)]

    def error(frames):
        with torch.no_grad():
            views = [render(f.camera, method(f), f.background).image for f in frames]
        return sum(float(l1(v, f.image)) for v, f in zip(views, frames, strict=True))

    before, groups = error(between), ("bases", "code", "mix")
    optimizers = Optimizers([g for g in method.stages()[1].params if g.name in groups])
    for step in range(400):
        seen = taught[step % len(taught)]
        l1(render(seen.camera, method(seen), seen.background).image, seen.image).backward()
        optimizers.step()
    assert error(between) < 0.5 * before


def test_a_scene_without_expressions_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="'blendshapes' needs expression coefficients"):
        build(write_tiny_scene(tmp_path / "tiny"))


def with_body(folder, *flags):
    """A method whose first half of the rows is head and whose second is body, and its scene."""
    method, scene, _ = build(folder, "--body_part", "true", *flags)
    with torch.no_grad():
        logits = method.table.columns[COLUMN]
        logits.copy_(torch.where(torch.arange(len(logits))[:, None] < 50, -50.0, 50.0))
        if method.motion is not None:
            method.motion.layer.weight.copy_(torch.linspace(-1, 1, 48).reshape(8, 6))
    return method, scene


def still(a, b):
    """Whether colours and sizes of head and of body are the same in both."""
    return [
        bool(
            torch.allclose(a.sh[rows], b.sh[rows])
            and torch.allclose(a.scales[rows], b.scales[rows])
        )
        for rows in (slice(50), slice(50, None))
    ]


def test_bases_of_the_body_follow_the_heads_motion_alone_and_those_of_the_head_both(folder):
    for flags, by_expression, by_motion in (
        ((), [False, True], [False, False]),
        (("--head_motion_input", "false"), [False, False], [True, True]),
    ):
        method, scene = with_body(folder, *flags)
        frame, other = scene.train[0], scene.train[-1]
        spoken = replace(frame, expression=other.expression)
        moved = replace(frame, body_to_world=other.body_to_world)
        assert still(method(frame), method(spoken)) == by_expression
        assert still(method(frame), method(moved)) == by_motion


def test_a_motion_that_training_did_not_show_is_held_beyond_its_end(folder):
    method, scene = with_body(folder)
    known = method.facts.head_motion
    shift = torch.tensor([0.0, 0, 0, 1, 1, 1])
    far, farther = (
        replace(
            scene.train[0],
            body_to_world=rigid_inverse(twist_to_pose(known.mean + k * shift * known.spread)),
        )
        for k in (20, 30)
    )
    with torch.no_grad():
        assert torch.allclose(method.motion(far), method.motion(farther), atol=1e-4)
        assert not torch.allclose(method.motion(far), method.motion(scene.train[0]), atol=1e-2)


def test_a_model_whose_bases_knew_the_expression_alone_still_opens(folder):
    older, scene = with_body(folder, "--head_motion_input", "false")
    method, _ = with_body(folder)
    method.load(older.state_dict())
    for frame in scene.test:
        assert same(method(frame), older(frame)) == set(FIELDS)
