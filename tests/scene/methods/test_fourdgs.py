from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer import render
from scene import load_scene
from tests.building import built
from tests.tiny_scene import write_tiny_scene
from utils.errors import InputError
from utils.random import generator

ARGV = ["--multires", "1", "--init_points", "100"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("data") / "tiny")


def build(folder, *flags):
    settings = parse_train_args(["-s", str(folder), *ARGV, *flags])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    return built(scene, settings), scene


def disturb(method):
    """Heads that are no longer zero."""
    for head in method.mlp.out.values():
        with torch.no_grad():
            head.weight.copy_(torch.randn(head.weight.shape, generator=generator(0, "test")) * 0.1)


def test_untrained_method_draws_its_canonical_gaussians_at_every_time(folder):
    method, scene = build(folder, "--no_do", "false", "--no_dshs", "false")
    canonical = method.canonical(scene.train[0])
    for frame in scene.train[::5]:
        posed = method(frame)
        for name in ("means", "quats", "scales", "opacities", "sh"):
            assert torch.equal(getattr(posed, name), getattr(canonical, name)), name


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("no_dx", "means"),
        ("no_ds", "scales"),
        ("no_dr", "quats"),
        ("no_do", "opacities"),
        ("no_dshs", "sh"),
    ],
)
def test_a_switched_off_head_leaves_its_column_alone_and_the_others_move(folder, flag, field):
    every = ["no_dx", "no_ds", "no_dr", "no_do", "no_dshs"]
    method, scene = build(folder, *[w for f in every for w in (f"--{f}", str(f == flag).lower())])
    disturb(method)
    still, posed = method.canonical(scene.train[0]), method(scene.train[0])
    fields = ["means", "scales", "quats", "opacities", "sh"]
    assert [n for n in fields if torch.equal(getattr(still, n), getattr(posed, n))] == [field]


def test_composed_rotations_stay_unit_and_differ_from_added_ones(folder):
    added, scene = build(folder)
    composed, _ = build(folder, "--apply_rotation")
    for method in (added, composed):
        disturb(method)
        with torch.no_grad():  # on the identity both are the same
            method.table.columns["quats"].copy_(torch.tensor([0.5, -0.5, 0.5, 0.5]))
    a, b = added(scene.train[1]).quats, composed(scene.train[1]).quats
    torch.testing.assert_close(b.norm(dim=1), torch.ones(len(b)))
    assert not torch.allclose(a, b, atol=1e-4)


def test_sh_degree_climbs_every_thousand_steps_up_to_its_limit(folder):
    method, _ = build(folder, "--sh_degree", "2")
    degrees = []
    for step in range(1, 4001):
        method.on_step(step)
        degrees.append(int(method.active_sh_degree))
    assert [degrees[k] for k in (998, 999, 1999, 2999, 3999)] == [0, 1, 2, 2, 2]


def test_terms_that_weigh_nothing_are_not_built(folder):
    method, _ = build(
        folder,
        "--lambda_dssim",
        "0.2",
        "--plane_tv_weight",
        "0",
        "--time_smoothness_weight",
        "0",
        "--l1_time_planes",
        "0",
    )
    assert [stage.terms for stage in method.stages()] == [
        ["l1", "dssim"],
        ["l1", "dssim"],
    ]


def test_the_rates_of_the_deformation_rise_at_first_and_no_others(folder):
    rates = {}
    for steps in (0, 8):
        method, _ = build(folder, "--deformation_warm_up", str(steps))
        rates[steps] = {group.name: group.lr for group in method.stages()[1].params}
    for name, lr in rates[0].items():
        rise = [min(step / 8, 1) if name in ("deformation", "grid") else 1 for step in (1, 4, 8, 9)]
        risen = [rates[8][name](step) / lr(step) for step in (1, 4, 8, 9)]
        assert risen == pytest.approx(rise), name


def test_still_gaussians_pay_no_offset_loss_and_moving_ones_their_mean_way(folder):
    method, scene = build(folder, "--lambda_offsets", "1")
    term = next(t for t in method.stages()[1].losses if t.name == "offsets")
    still = replace_means(method.canonical(scene.train[0]), 0.0)
    moved = replace_means(method.canonical(scene.train[0]), 0.3)
    assert term([still], [scene.train[0]], 1).item() == 0
    assert term([moved], [scene.train[0]], 1).item() == pytest.approx(0.3 / scene.extent, rel=1e-5)


def replace_means(gaussians, way):
    class Drawn:
        pass

    drawn = Drawn()
    drawn.gaussians = replace(gaussians, means=gaussians.means + torch.tensor([way, 0.0, 0.0]))
    return drawn


def test_zerostamp_shows_the_coarse_stage_the_first_moment_only(folder):
    method, scene = build(folder, "--zerostamp_init")
    stage = method.stages()[0]
    batches = stage.sampler(scene.train, stage.name, 0, 0)
    assert {next(batches)[0].time for _ in range(5)} == {min(f.time for f in scene.train)}


def test_a_state_of_more_rows_is_taken_over_and_a_foreign_one_is_refused(folder):
    small, _ = build(folder)
    large, _ = build(folder, "--init_points", "150")
    small.load(large.state_dict())
    assert len(small.table) == 150
    state = dict(large.state_dict())
    state["extra"] = state.pop("mlp.hidden.weight")
    with pytest.raises(
        ValueError, match=r"missing: \['mlp.hidden.weight'\], unexpected: \['extra'\]"
    ):
        small.load(state)


def test_a_frame_without_what_the_method_needs_stops_before_training(folder):
    settings = parse_train_args(["-s", str(folder), *ARGV])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    timeless = replace(scene, train=[replace(f, time=None) for f in scene.train])
    with pytest.raises(InputError, match="needs a time for every frame"):
        built(timeless, settings)


def test_a_conditioned_method_follows_the_expression_and_not_the_time(folder):
    settings = parse_train_args(
        [
            "-s",
            str(folder),
            *ARGV,
            "--time_input",
            "false",
            "--expression_input",
            "--code_width",
            "5",
        ]
    )
    scene = load_scene(settings.dataset, settings.model, settings.data)
    spoken = [
        replace(f, expression=torch.tensor([float(k), -1.0])) for k, f in enumerate(scene.train)
    ]
    method = built(replace(scene, train=spoken), settings)
    disturb(method)
    first, other = spoken[0], spoken[-1]
    posed = method(first).means
    assert not torch.equal(posed, method(other).means)
    assert torch.equal(posed, method(replace(other, expression=first.expression)).means)
    assert all(len(level) == 3 for level in method.grid.levels)


def test_conditioning_on_what_the_dataset_lacks_stops_before_training(folder):
    with pytest.raises(InputError, match="needs expression coefficients for every frame"):
        build(folder, "--expression_input")


def test_expression_gradients_equal_finite_differences(folder):
    settings = parse_train_args(
        [
            "-s",
            str(folder),
            *ARGV,
            "--expression_input",
            "--refine_expression",
            "--latent_width",
            "2",
        ]
    )
    scene = load_scene(settings.dataset, settings.model, settings.data)
    spoken = [
        replace(f, expression=torch.tensor([0.1 * k, 1.0 - k])) for k, f in enumerate(scene.train)
    ]
    method = built(replace(scene, train=spoken), settings).double()
    disturb(method)
    frame = replace(spoken[3], expression=spoken[3].expression.double())

    def loss():
        return method(method.prepare(frame)).means.square().sum()

    loss().backward()
    for rows in method.frames.rows.values():
        found, numeric = rows.grad[frame.index].clone(), torch.zeros_like(rows[0])
        for k in range(len(numeric)):
            ends = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    rows[frame.index, k] += step
                    ends.append(float(loss()))
                    rows[frame.index, k] -= step
            numeric[k] = (ends[0] - ends[1]) / 2e-6
        assert found.abs().max() > 0
        assert torch.allclose(found, numeric, rtol=1e-5, atol=1e-7)


def test_a_refined_camera_is_reached_by_the_losses_of_its_own_moment(folder):
    method, scene = build(folder, "--refine_camera", "true")
    assert [group.name for group in method.stages()[-1].params][-1] == "frames"
    given = replace(scene.train[4], background=torch.ones(3))
    frame = method.prepare(given)
    assert torch.equal(frame.camera.viewmat, given.camera.viewmat)
    view = render(frame.camera, method(frame), frame.background)
    (view.image * torch.linspace(0, 1, view.image.numel()).view_as(view.image)).sum().backward()
    grad = method.frames.rows["camera"].grad
    assert (grad[given.index] != 0).all()
    assert not grad[torch.arange(len(grad)) != given.index].any()


def test_noise_disturbs_the_condition_only_where_gradients_are_taken_and_the_same_way_again(folder):
    flags = ["--expression_input", "--time_input", "false", "--code_noise", "0.5"]
    settings = parse_train_args(["-s", str(folder), *ARGV, *flags])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    spoken = [
        replace(f, expression=torch.tensor([0.1 * k, 1.0 - k])) for k, f in enumerate(scene.train)
    ]
    method = built(replace(scene, train=spoken), settings)
    disturb(method)
    pose, frame = method.stages()[-1].pose, spoken[3]
    method.on_step(7)
    with torch.no_grad():
        still = method(frame).means
    first = pose(frame).means
    assert not torch.equal(first, still)
    assert torch.equal(first, pose(frame).means)
    method.on_step(8)
    assert not torch.equal(first, pose(frame).means)
    with torch.no_grad():
        assert torch.equal(method(frame).means, still)


def test_no_gaussian_moves_or_stretches_beyond_its_bounds(folder):
    method, scene = build(folder, "--max_offset", "0.25", "--max_stretch", "0.5")
    with torch.no_grad():
        for layer in method.mlp.out.values():
            layer.bias.fill_(1e3)
    side = float((method.facts.box[1] - method.facts.box[0]).amax())
    still, posed = method.canonical(scene.train[0]), method(scene.train[0])
    moved = (posed.means - still.means).detach().abs()
    assert float(moved.max()) <= 0.25 * side + 1e-5
    stretched = (posed.scales / still.scales).detach().log().abs()
    assert float(stretched.max()) <= 0.5 + 1e-5
    assert float(moved.min()) > 0.24 * side
