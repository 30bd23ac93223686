from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from arguments import parse_train_args
from export import ply
from gaussian_renderer import render
from scene import load_scene
from scene.gaussian_model import activate
from tests.building import built
from tests.tiny_scene import write_tiny_head, write_tiny_scene
from training import losses
from training.optimizers import Optimizers
from utils.errors import InputError
from utils.sh import rgb_to_sh

ARGV = ["--method", "gaussianhead", "--init_points", "100", "--deform_width", "16",
        "--plane_resolution", "8", "--lambda_vgg", "0", "--body_part", "false"]  # fmt: skip
LATER = 5_000  # a step at which everything is on
RAMP = range(1000, LATER + 1, 1000)  # steps at which something changes
FIELDS = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_head(tmp_path_factory.mktemp("data") / "tiny")


def build(folder, *flags, disturbed=True, steps=RAMP):
    """A method after `steps`, whose deformation moves what it may, and its scene."""
    settings = parse_train_args(["-s", str(folder), *ARGV, *flags])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = built(scene, settings)
    for step in steps:
        method.on_step(step)
    if disturbed:
        torch.manual_seed(0)
        with torch.no_grad():
            method.deform.out.weight.normal_(std=0.02)
            for plane in method.planes.parameters():
                plane.uniform_(0.5, 1.5)
            for layer in (method.decoder.opacity, method.decoder.dc):
                layer.weight.normal_(std=0.1)
    return method, scene


def canonical(method, frame):
    """The table before posing, as the frame's camera sees it."""
    columns = method._decoded(dict(method.table.columns), frame.camera.center)
    return activate(columns, method.drawn_sh_degree)


def same(a, b):
    return {
        name for name in FIELDS if torch.allclose(getattr(a, name), getattr(b, name), atol=1e-6)
    }


def test_untrained_deformation_is_the_identity(folder):
    method, scene = build(folder, disturbed=False)
    for frame in scene.train[::5]:
        assert same(method(frame), canonical(method, frame)) == set(FIELDS)


def test_expressions_move_nothing_before_the_warm_up_ends_and_everything_after(folder):
    method, scene = build(folder, "--warm_up", "30")
    frame = scene.train[0]
    for step, moved in ((29, False), (30, True)):
        method.on_step(step)
        assert (same(method(frame), canonical(method, frame)) == set()) == moved


def test_the_expression_decides_and_neither_time_nor_index_does(folder):
    method, scene = build(folder)
    first, other = scene.train[0], scene.train[-1]
    moved = replace(first, expression=other.expression)
    later = replace(first, time=other.time, index=other.index)
    assert same(method(first), method(moved)) == set()
    assert same(method(first), method(later)) == set(FIELDS)


def test_the_same_gaussians_look_different_from_another_side(folder):
    method, scene = build(folder)
    first = scene.train[0]
    turned = replace(first, camera=scene.train[3].camera)
    assert same(method(first), method(turned)) == {"means", "quats", "scales", "opacities"}


def test_sh_degree_climbs_every_thousand_steps_and_survives_a_saved_model(folder):
    method, scene = build(folder, steps=[])
    degrees = []
    for step in (999, 1000, 2000, 3000, 4000):
        method.on_step(step)
        degrees.append(method(scene.train[0]).sh_degree)
    assert degrees == [0, 1, 2, 3, 3]
    method, _ = build(folder, steps=[1000, 2000, 2500])
    again, _ = build(folder, "--init_points", "150")
    again.load({name: value.clone() for name, value in method.state_dict().items()})
    assert len(again.table) == 100
    frame = scene.train[0]
    assert again(frame).sh_degree == 2
    assert same(again(frame), canonical(again, frame)) == set(FIELDS)  # the warm-up goes on


def test_a_band_of_harmonics_whose_turn_comes_changes_nothing_at_first(folder):
    method, scene = build(folder)
    assert method(scene.train[0]).sh_degree == 3
    assert not method(scene.train[0]).sh[:, 1:].any()


def test_the_planes_box_follows_the_size_and_place_of_the_head(folder):
    """The same head, ten times as large and elsewhere, looks the same."""
    method, scene = build(folder)
    shift = torch.tensor([3.0, -1.0, 2.0])
    points = replace(scene.points, xyz=10 * scene.points.xyz + shift)
    cameras = [frame.camera for frame in scene.train]
    frames = []
    for frame, camera in zip(scene.train, cameras, strict=True):
        viewmat = camera.viewmat.clone()
        viewmat[:3, 3] = 10 * viewmat[:3, 3] - viewmat[:3, :3] @ shift
        frames.append(replace(frame, camera=replace(camera, viewmat=viewmat)))
    settings = parse_train_args(["-s", str(folder), *ARGV])
    large = built(replace(scene, points=points, train=frames), settings)
    large.on_step(LATER)
    large.draw_sh_degree(method.drawn_sh_degree)
    for part in ("deform", "planes", "decoder"):
        getattr(large, part).load_state_dict(getattr(method, part).state_dict())
    ours, theirs = method(scene.train[2]), large(frames[2])
    torch.testing.assert_close(theirs.means, 10 * ours.means + shift, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(theirs.scales, 10 * ours.scales, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(theirs.opacities, ours.opacities, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(theirs.sh, ours.sh, atol=1e-4, rtol=1e-3)


def places(method):
    """Where the copies of the first rows read the planes, and the rows' place in the box."""
    points = method._in_box(method.table.columns)
    return method._copies(points), points


def disturb_rotations(method):
    torch.manual_seed(1)
    with torch.no_grad():
        method.table.columns["rotations"].add_(torch.randn(100, 4, 4))


def test_copies_are_rotated_and_the_parity_settings_do_what_they_say(folder):
    method, _ = build(folder)
    disturb_rotations(method)
    copies, points = places(method)
    torch.testing.assert_close(copies.norm(dim=2), points.norm(dim=1)[:, None].expand(-1, 4))
    for flag in ("--reference_contraction", "--reference_matrix"):
        other, _ = build(folder, flag)
        disturb_rotations(other)
        assert not torch.allclose(places(other)[0].norm(dim=2), copies.norm(dim=2), atol=0.1), flag
    scaled = build(folder, "--reference_contraction")[0]
    ratio = places(scaled)[0] / places(scaled)[1][:, None]
    torch.testing.assert_close(
        ratio, ratio[:1].expand_as(ratio), atol=1e-3, rtol=1e-3
    )  # all rows alike


def test_without_rotations_every_copy_reads_at_the_gaussian_itself(folder):
    method, _ = build(folder, "--rotate_copies", "false")
    copies, points = places(method)
    assert torch.equal(copies, points[:, None].expand(-1, 4, -1))
    assert "rotations" not in method.table.columns
    assert "rotations" not in [group.name for group in method.stages()[0].params]


def test_first_rotations_of_the_published_code_are_all_positive(folder):
    assert build(folder, "--reference_draw")[0].table.columns["rotations"].min() >= 0
    first = build(folder)[0].table.columns["rotations"]
    assert first.min() < 0
    assert torch.equal(first, first[:1].expand_as(first))


def test_the_published_box_is_the_world_s_own_cube(folder):
    method, _ = build(folder, "--reference_box")
    assert torch.equal(places(method)[1], method.table.columns["means"])


def test_the_published_planes_and_colours_are_built_as_published(folder):
    assert build(folder, "--reference_channels")[0].planes.last_group_only
    assert not build(folder)[0].planes.last_group_only
    assert not any(
        isinstance(m, torch.nn.ReLU)
        for m in build(folder, "--reference_color")[0].decoder.modules()
    )


def test_the_published_scales_add_up_in_world_units(folder):
    for flags, product in (((), True), (("--reference_scales",), False)):
        method, scene = build(folder, *flags)
        frame = scene.train[0]
        still, moved = canonical(method, frame).scales, method(frame).scales
        offset = method.deform(method._in_box(method.table.columns), method.code(frame))[
            "log_scales"
        ]
        expected = (
            still * offset.exp() if product else (still + method.unit * offset).clamp(min=1e-7)
        )
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-7)


def step_of(method, scene, optimizers, seed=0):
    stage = method.stages()[0]
    frame = replace(scene.train[seed % len(scene.train)], background=torch.ones(3))
    view = render(frame.camera, stage.pose(frame), frame.background)
    view.image.square().sum().backward()
    optimizers.step()


@pytest.mark.parametrize("adam", [False, True])
def test_training_keeps_rotations_on_the_sphere_but_for_the_published_optimizer(folder, adam):
    method, scene = build(folder, "--reference_adam", str(adam).lower(), "--quater_lr_init", "0.05")
    optimizers = Optimizers(method.stages()[0].params)
    before = method.table.columns["rotations"].detach().clone()
    for seed in range(20):
        step_of(method, scene, optimizers, seed)
    after = method.table.columns["rotations"].detach()
    assert (after - before).abs().max() > 0.01
    off = (after.norm(dim=-1) - 1).abs().max().item()
    assert off > 1e-3 if adam else off < 1e-6


def test_the_rotations_rate_falls_and_in_the_published_code_stays(folder):
    def rate(*flags):
        method, _ = build(folder, "--quater_lr_max_step", "100", *flags)
        (group,) = [group for group in method.stages()[0].params if group.name == "rotations"]
        return [group.lr(step) for step in (0, 50, 100)]

    assert rate() == pytest.approx([1e-3, 4e-5, 1.6e-6])
    assert rate("--reference_rate") == [1e-3] * 3


@pytest.mark.parametrize("lost", [False, True])
def test_densification_keeps_the_moments_of_rotations_but_in_the_published_code(folder, lost):
    method, scene = build(folder, "--reference_moments", str(lost).lower())
    optimizers = Optimizers(method.stages()[0].params)
    step_of(method, scene, optimizers)
    assert "rotations.0.exp_avg" in optimizers.state()
    keep = torch.ones(100, dtype=torch.bool)
    old = optimizers.state()["means.0.exp_avg"].clone()
    method.table.resize(keep, method.table.rows(torch.tensor([7])), optimizers)
    assert ("rotations.0.exp_avg" in optimizers.state()) != lost
    assert torch.equal(optimizers.state()["means.0.exp_avg"][:100], old)
    born = method.table.columns["rotations"][-1]
    assert torch.equal(born, method.table.columns["rotations"][7])  # inherited


def test_rows_are_pruned_by_what_is_stored_or_else_by_what_views_drew(folder):
    def chosen(*flags):
        return build(folder, *flags)[0].stages()[0].strategy.settings.opacity

    assert chosen() == "stored"
    assert chosen("--reference_look") == "greatest"
    assert chosen("--reference_look", "--reference_pruning") == "latest"


def test_an_untrained_decoder_leaves_the_look_that_is_stored(folder):
    method, scene = build(folder, disturbed=False)
    seen = method(scene.train[0])
    torch.testing.assert_close(seen.opacities, torch.full((100, 1), 0.1))
    torch.testing.assert_close(seen.sh[:, :1], rgb_to_sh(scene.points.rgb)[:, None])
    method, _ = build(folder)
    before = method(scene.train[0])
    with torch.no_grad():
        method.table.columns["opacity_logits"].add_(1.0)
        method.table.columns["sh_dc"].add_(0.25)
    after = method(scene.train[0])
    torch.testing.assert_close(after.opacities.logit(), before.opacities.logit() + 1.0)
    torch.testing.assert_close(after.sh[:, 0], before.sh[:, 0] + 0.25)


def test_the_published_look_stores_nothing_and_such_a_model_opens_in_either_form(folder):
    method, scene = build(folder, "--reference_look")
    assert not {"opacity_logits", "sh_dc"} & method.table.columns.keys()
    again, _ = build(folder)
    again.load({name: value.clone() for name, value in method.state_dict().items()})
    for frame in scene.train[::4]:
        assert same(again(frame), method(frame)) == set(FIELDS)


def test_a_reset_acts_on_the_stored_opacity(folder):
    method, _ = build(folder, "--opacity_reset_interval", "10")
    with torch.no_grad():
        method.table.columns["opacity_logits"].fill_(2.0)
    stage = method.stages()[0]
    stage.strategy.update(10, method.table, Optimizers(stage.params))
    logits = method.table.columns["opacity_logits"]
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01))


def test_gradients_reach_every_parameter(folder):
    method, scene = build(folder)
    frame = scene.train[1]
    gaussians = method(frame)
    values = [getattr(gaussians, name).flatten() for name in FIELDS]
    sum((value * torch.arange(len(value))).sum() for value in values).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_to_places_rotations_and_planes_are_finite_differences(folder):
    """Of what is drawn, through the rotated copies, the planes and the decoders."""
    method, scene = build(folder)
    disturb_rotations(method)
    method.double()

    def drawn():
        gaussians = canonical(method, scene.train[1])
        values = torch.cat([gaussians.opacities, gaussians.sh.flatten(1)], dim=1)
        return (values * torch.linspace(-1, 1, values.numel()).view_as(values)).sum()

    drawn().backward()
    for name in ("table.columns.means", "table.columns.rotations", "planes.groups.1.2"):
        parameter = method.get_parameter(name)
        for at in parameter.grad.abs().flatten().argsort(descending=True)[[0, 1, 7, 30]]:
            ends = []
            for step in (1e-6, -2e-6, 1e-6):
                with torch.no_grad():
                    parameter.view(-1)[at] += step
                    ends.append(drawn().item())
            assert parameter.grad.view(-1)[at].item() == pytest.approx(
                (ends[0] - ends[1]) / 2e-6, rel=1e-5
            ), name


def test_the_exported_ply_shows_the_head_as_the_mean_camera_sees_it(folder, tmp_path):
    method, scene = build(folder)
    ply.write(tmp_path / "head.ply", [method.exported()])
    columns = ply.read(tmp_path / "head.ply", 3)
    eye = torch.stack([frame.camera.center for frame in scene.train]).mean(0)
    camera = scene.train[0].camera
    viewmat = camera.viewmat.clone()
    viewmat[:3, 3] = -viewmat[:3, :3] @ eye
    seen = canonical(method, replace(scene.train[0], camera=replace(camera, viewmat=viewmat)))
    torch.testing.assert_close(columns["opacity_logits"].sigmoid(), seen.opacities)
    torch.testing.assert_close(torch.cat([columns["sh_dc"], columns["sh_rest"]], dim=1), seen.sh)
    torch.testing.assert_close(F.normalize(columns["quats"], dim=1), seen.quats)


def test_a_scene_without_expressions_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="'gaussianhead' needs expression coefficients"):
        build(write_tiny_scene(tmp_path / "tiny"))


def test_the_mouth_has_a_loss_of_its_own_where_it_weighs_anything(folder):
    for flags, expected in (((), False), (("--lambda_regions", "1"), True)):
        stage = build(folder, *flags)[0].stages()[0]
        assert ("regions" in [term.name for term in stage.losses]) == expected


def test_the_perceptual_loss_is_off_with_one_line_where_there_are_no_weights(
    folder, monkeypatch, capsys
):
    monkeypatch.setattr(losses, "find_weights", lambda: None)
    method, _ = build(folder, "--lambda_vgg", "0.01")
    assert [term.name for term in method.stages()[0].losses] == ["l1", "dssim"]
    said = capsys.readouterr().out.splitlines()
    assert len([line for line in said if "lambda_vgg=0.01 is off: no weights" in line]) == 1


@pytest.mark.long
def test_the_perceptual_loss_is_the_distance_of_four_blocks_features(monkeypatch):
    torch.manual_seed(0)
    net = losses.load_lpips.__globals__["Lpips"]("vgg")
    monkeypatch.setattr(losses, "load_lpips", lambda path, name: net)
    image, truth = torch.rand(2, 3, 40, 40).requires_grad_().unbind()
    small = F.interpolate(torch.stack([image, truth]), (224, 224), mode="bilinear")
    expected, x = 0.0, (2 * small - 1 - net.shift) / net.scale
    for block in net.slices[:4]:
        x = block(x)
        expected = expected + (x[0] - x[1]).abs().mean()
    found = losses.vgg()(image, truth)
    torch.testing.assert_close(found, expected)
    assert losses.vgg()(image, image).item() == 0
