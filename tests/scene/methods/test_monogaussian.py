import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from arguments import parse_train_args
from export import ply
from gaussian_renderer import render
from scene import load_scene
from scene.facts import SceneFacts
from scene.head.files import save_head_model
from scene.head.landmarks import landmarks
from scene.head.model import pose_head
from scene.methods import make_method, model_folder, read_method
from scripts.demo.toy_head import toy_head
from tests.building import CPU, built
from tests.scene.datasets.reading import edit
from tests.scene.datasets.tiny_folders import imavatar
from tests.tiny_scene import write_tiny_flame_head
from train import train
from training.optimizers import Optimizers
from utils.errors import InputError

FIELDS = ("means", "quats", "scales", "opacities", "sh")
NETWORK = ["--attribute_width", "48", "--anchored", "false", "--canonical_offset", "--field_smooth"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_flame_head(tmp_path_factory.mktemp("data") / "tiny")


def build(folder, *flags, disturbed=False):
    """A method, maybe one whose networks say something, and its scene."""
    argv = ["-s", str(folder), "--method", "monogaussian", "--init_points", "120", *flags]
    settings = parse_train_args(argv)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = built(scene, settings)
    if disturbed:
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in method.named_parameters():
                if name.split(".")[0] in ("field", "corrections", "attributes"):
                    parameter.add_(0.02 * torch.randn_like(parameter))
    return method, scene


def canonical(method, frame):
    """A frame of the canonical state, in a world that is the head."""
    return replace(
        frame, expression=method.canonical_expression, flame_pose=method.canonical_pose,
        head_to_world=None, index=-1,
    )  # fmt: skip


@pytest.mark.parametrize("flags", [[], NETWORK])
def test_the_canonical_state_gives_the_canonical_points(folder, flags):
    method, scene = build(folder, *flags, disturbed=True)
    found = method(canonical(method, scene.train[0])).means
    torch.testing.assert_close(found, method.exported().means, atol=1e-6, rtol=0)
    moved = method(scene.train[0]).means
    assert (moved - found).norm(dim=1).max() > 1e-3


def test_an_untrained_avatar_moves_as_its_head_model_does(folder):
    """Points on vertices, in a world that the head moves in and in one that is the head."""
    method, scene = build(folder, "--init_points", "822")
    head = scene.subject.model
    with torch.no_grad():
        method.table.columns["means"].copy_(method.surface.vertices)
    method.anchor()
    pose = 0.3 * torch.randn(15, generator=torch.Generator().manual_seed(3))
    expression, shift = scene.train[3].expression, torch.tensor([0.1, -0.2, 0.3])
    posed = pose_head(head, pose, expression=expression)
    stands = posed.transforms[1].clone()
    stands[:3, 3] += shift
    frame = replace(scene.train[0], expression=expression, flame_pose=pose)
    own = posed.vertices @ posed.transforms[1, :3, :3]
    own = own - posed.transforms[1, :3, 3] @ posed.transforms[1, :3, :3]
    for stand, expected in ((stands, posed.vertices + shift), (None, own)):
        found = method(replace(frame, head_to_world=stand)).means
        off = (found - expected).norm(dim=1)
        assert off.median() < 1e-4
        assert off.quantile(0.98) < 1e-3  # where two parts meet, one stands for the other


def test_the_table_of_points_and_the_radius_are_the_published_ones(folder):
    counts = [400, 800, 1600, 3200, 6400, 10000, 20000, 40000, 80000, 100000]
    epochs = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60]
    radii = [0.084375, 0.06328, 0.04746, 0.03560, 0.02670, 0.02002, 0.01502, 0.01126, 0.008447,
             0.007602]  # fmt: skip
    flags = "--iterations 3200 --refills 100 --init_points 400 --max_gaussians 100000 --grow_at"
    flags += " " + " ".join(str(epoch / 100) for epoch in epochs[1:])
    flags += " --grow_to " + " ".join(map(str, counts[1:]))
    method, _ = build(folder, *flags.split(), *NETWORK)
    refills = method._refills()
    assert [refill.count for refill in refills] == counts
    assert [refill.step for refill in refills] == [32 * epoch for epoch in epochs]
    for epoch, radius in [*zip(epochs, radii, strict=True), (65, 0.0057015), (99, 0.00101479)]:
        method.on_step(32 * epoch + 1)
        assert method.radius() == pytest.approx(radius, rel=1e-3)


def test_without_a_table_the_number_doubles_up_to_the_most_allowed(folder):
    flags = "--iterations 1000 --grow_at 0.1 0.2 0.3 --max_gaussians 700 --refills 50"
    method, _ = build(folder, *flags.split())
    assert [(r.step, r.count) for r in method._refills()] == [
        (0, 120), (100, 240), (200, 480), (300, 700),
    ]  # fmt: skip


def test_a_coefficient_that_never_varies_makes_no_nan(folder):
    method, scene = build(folder)
    method.spread[2] = 0
    frame = replace(scene.train[0], background=torch.ones(3), image=torch.rand(3, 24, 24))
    view = render(frame.camera, method(frame), frame.background)
    stage = method.stages()[0]
    for term in stage.losses:
        assert torch.isfinite(term([view], [frame], 1)), term.name
    sum(term([view], [frame], 1) for term in stage.losses).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_the_head_model_binds_less_and_less(folder):
    method, _ = build(folder, "--iterations", "1000")
    (held,) = [term for term in method.stages()[0].losses if term.name == "targets"]
    steps = (1, 200, 201, 301, 501, 701, 1000)
    assert [held.weight(step) for step in steps] == [10, 10, 5, 2.5, 1.25, 0.625, 0.625]
    assert "targets" not in [
        t.name for t in build(folder, "--lambda_targets", "0")[0].stages()[0].losses
    ]


def test_networks_end_slowly_and_begin_so_where_wanted(folder):
    for flags, first in (([], 1e-3), (["--network_warm_up", "0.1"], 1e-5)):
        method, _ = build(folder, "--iterations", "1000", *flags)
        (group,) = [group for group in method.stages()[0].params if group.name == "field"]
        assert group.lr(1) == pytest.approx(first, rel=0.01)
        assert group.lr(1000) == pytest.approx(1e-4)


def test_expression_and_pose_decide_and_neither_time_nor_index_does(folder):
    method, scene = build(folder, disturbed=True)
    first, other = scene.train[0], scene.train[-1]
    later = replace(first, time=other.time, index=other.index)
    assert all(torch.equal(getattr(method(first), n), getattr(method(later), n)) for n in FIELDS)
    for change in ({"expression": other.expression}, {"flame_pose": other.flame_pose}):
        found = method(replace(first, **change))
        assert not torch.allclose(method(first).means, found.means, atol=1e-6)
        assert not torch.allclose(method(first).quats, found.quats, atol=1e-6)


def test_gradients_reach_every_parameter(folder):
    for flags in ([], NETWORK):
        method, scene = build(folder, "--refine_camera", *flags, disturbed=True)
        frame = method.prepare(scene.train[1])
        gaussians = method(frame)
        values = [getattr(gaussians, name).flatten() for name in FIELDS]
        values.append(frame.camera.viewmat.flatten())
        sum((value * torch.arange(len(value))).sum() for value in values).backward()
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0 or name.endswith("sh_rest"), name


def test_what_a_moment_s_correction_moves_is_the_head_and_not_its_place(folder):
    """A turned neck turns the head in a world that it moves in, and does not shift the body."""
    method, scene = build(folder)
    frame = scene.train[0]
    with torch.no_grad():
        method.frames.rows["flame_pose"][frame.index, 4] = 0.3
    still, turned = method(frame).means, method(method.prepare(frame)).means
    skin = method.table.fixed.skin
    body, face = skin[:, 1] > 0.99, skin[:, 2] > 0.9
    assert (turned - still)[face].norm(dim=1).mean() > 0.01
    if bool(body.any()):
        assert (turned - still)[body].norm(dim=1).max() < 5e-4  # of the faint weights
    other = replace(frame, index=-1)
    assert torch.equal(method(method.prepare(other)).means, still)


def test_corrections_are_learned_from_a_tenth_of_the_run_on(folder):
    for flags, begin in (([], 100), (["--refine_after", "7"], 7)):
        method, _ = build(folder, "--iterations", "1000", *flags)
        (group,) = [group for group in method.stages()[0].params if group.name == "frames"]
        assert (group.lr(begin), group.lr(begin + 1)) == (0, method.optim.frame_lr)
        assert group.rows == "touched"


@pytest.mark.parametrize("flags", [[], NETWORK])
def test_what_is_drawn_baked_is_what_was_trained(folder, tmp_path, flags):
    """Of a model that train.py wrote, 60 pixels wide: within 1/255."""
    argv = ["-s", str(folder), "-m", str(tmp_path / "out"), "--method", "monogaussian", *flags]
    argv += ["--iterations", "30", "--init_points", "300", "--quiet", "--cache_mb", "10"]
    settings = parse_train_args(argv)
    train(settings)
    at = model_folder(tmp_path / "out", -1)
    facts = SceneFacts.read(at)
    drawn = read_method(at, facts, settings, CPU)
    trained = make_method(facts, settings, CPU)
    trained.read(at / "model.safetensors")
    kept = load_file(at / "model.safetensors").get("table.fixed.blend")
    assert (kept is None) == bool(flags)
    assert kept is None or kept.dtype == torch.float16
    assert drawn.baked is not None
    assert trained.baked is None
    for frame in [*facts.shown, *facts.video]:
        camera = frame.camera.resized(60, 60)
        with torch.no_grad():
            ours, theirs = (
                render(camera, m(m.prepare(frame)), torch.ones(3)).image for m in (drawn, trained)
            )
        assert (ours - theirs).abs().max() < 1 / 255
        assert (ours - 1).abs().max() > 0.1
    assert not any("surface" in name for name in drawn.state_dict())


def test_the_published_rotation_hardly_turns(folder):
    method, scene = build(folder, "--reference_rotation", *NETWORK)
    quats = method(scene.train[0]).quats
    assert quats[:, 0].min() > 0.99
    assert build(folder, *NETWORK)[0](scene.train[0]).quats[:, 0].min() < 0.9


def test_the_published_pruning_and_moments(folder):
    plain, published = (
        build(folder, *flags)[0]._schedule()
        for flags in ([], ["--reference_pruning", "--reference_moments"])
    )
    assert (plain.keeps_moments, published.keeps_moments) == (True, False)
    method, scene = build(folder)
    view = render(scene.train[0].camera, method(scene.train[0]), torch.ones(3))
    hidden = replace(view, radii=torch.zeros_like(view.radii))
    assert bool(published.visible(hidden).any())
    assert not bool(plain.visible(hidden).any())
    (view.image[:, :, :12].sum() + 0 * view.image.sum()).backward()  # of the left half
    seen = plain.visible(view)
    assert 0 < seen.sum() < len(seen)
    assert torch.equal(seen, view.means2d.grad[:, :2].norm(dim=1) > 0)


def test_sizes_follow_the_unit_of_the_data_and_the_published_ones_do_not(folder):
    """The head of the tiny data is in metres, the published one in quarters."""
    for flags, unit in (([], 0.25), (["--reference_units"], 1.0)):
        method, _ = build(folder, *NETWORK, *flags)
        scales = method.exported().scales
        assert unit * method.radius() <= scales.min() + 1e-6
        assert scales.max() <= unit * (method.radius() + 0.025) + 1e-6


def test_copies_are_born_within_their_parents(folder):
    for flags, most in ([], 1.0), (NETWORK, None):
        method, _ = build(folder, *flags)
        rows = method.table.rows(torch.arange(100))
        born = method._copies(rows, torch.Generator().manual_seed(0))
        moved = born["means"] - rows["means"]
        assert moved.abs().amax() > 0
        if most is None:
            assert moved.abs().amax() <= method.unit * method.radius() / 2
        else:
            assert (moved / rows["log_scales"].exp()).abs().mean() < most
            assert bool((born["log_scales"] < rows["log_scales"]).all())


def test_optimizers_forget_at_a_refill_only_where_the_published_code_is_wanted(folder):
    for flags, kept in (([], True), (["--reference_moments"], False)):
        method, scene = build(folder, "--iterations", "100", "--refills", "10", *flags)
        stage = method.stages()[0]
        optimizers = Optimizers(stage.params)
        view = render(scene.train[0].camera, method(scene.train[0]), torch.ones(3))
        view.image.square().sum().backward()
        optimizers.step()
        stage.strategy.observe([view])
        stage.strategy.update(10, method.table, optimizers)
        assert len(method.table) == 240
        assert ("field.0.exp_avg" in optimizers.state()) == kept


@pytest.mark.parametrize(
    ("flags", "logit", "advice"),
    [
        ([], -9.0, "less than prune_opacity 0.02: lower opacity_lr"),
        ([], 0.0, "masks are not inverted"),
        (["--lambda_targets", "0"], 0.0, "give lambda_targets, or network_warm_up 0.1"),
        (["--lambda_targets", "0", "--network_warm_up", "0.1"], 0.0, "masks are not inverted"),
    ],
)
def test_a_run_that_lost_its_points_says_what_to_change(folder, flags, logit, advice):
    method, scene = build(folder, "--iterations", "100", "--refills", "10", *flags)
    with torch.no_grad():
        method.table.columns["opacity_logits"].fill_(logit)
    stage = method.stages()[0]
    frame = scene.train[0]
    away = replace(frame, head_to_world=torch.eye(4).index_fill(0, torch.tensor([3]), 0))
    away.head_to_world[:3, 3], away.head_to_world[3, 3] = 1e3, 1
    stage.strategy.observe([render(frame.camera, method(away), torch.ones(3))])
    with pytest.raises(InputError, match="no view of the last 10 steps") as caught:
        stage.strategy.update(10, method.table, Optimizers(stage.params))
    assert advice in str(caught.value)


SHORT = "--iterations 40 --refills 4 --grow_to 80 --grow_at 0.5 --max_gaussians 100 --cache_mb 10"


@pytest.mark.long
@pytest.mark.parametrize("config", ["monogaussian", "monogaussian_paper", "monogaussian_reference"])
def test_the_shipped_configs_train_and_draw(folder, tmp_path, config):
    argv = ["-s", str(folder), "-m", str(tmp_path), "--configs", f"arguments/insta/{config}.py"]
    argv += [*SHORT.split(), "--init_points", "60", "--lambda_vgg", "0", "--quiet"]
    settings = parse_train_args(argv)
    at = model_folder(train(settings).parents[1], -1)
    facts = SceneFacts.read(at)
    method = read_method(at, facts, settings, CPU)
    frame = facts.shown[0]
    with torch.no_grad():
        image = render(frame.camera, method(frame), torch.ones(3)).image
    assert (image - 1).abs().max() > 0.1


def test_the_reference_is_the_paper_and_the_defects_that_the_page_lists():
    ours, published = (
        parse_train_args(["-s", "x", "--configs", f"arguments/imavatar/monogaussian_{name}.py"])
        for name in ("paper", "reference")
    )
    changed = {
        name
        for part in ("model", "data", "pipeline", "hidden", "optim")
        for name, value in vars(getattr(published, part)).items()
        if value != getattr(getattr(ours, part), name)
    }
    page = Path("docs/monogaussianavatar.md").read_text().split("## Defects")[1].split("\n## ")[0]
    listed = set(re.findall(r"`(\w+)(?:=[\w.]+)?` \|$", page, re.MULTILINE))
    # The rate of positions stays as that of networks does.
    assert changed == listed | {"position_lr_final"}


def test_the_ply_holds_the_canonical_head_and_any_frame(folder, tmp_path):
    method, scene = build(folder, disturbed=True)
    method.draw_sh_degree(3)
    with torch.no_grad():
        for name, posed in (("canonical", method.exported()), ("frame", method(scene.train[2]))):
            ply.write(tmp_path / f"{name}.ply", [posed])
            columns = ply.read(tmp_path / f"{name}.ply", 3)
            torch.testing.assert_close(columns["means"], posed.means)


def test_a_folder_without_a_head_model_is_refused_with_what_to_do(folder, tmp_path):
    imavatar(tmp_path / "person")
    with pytest.raises(InputError, match=r"needs a head model: name its file with --head_model"):
        build(tmp_path / "person")


def test_coefficients_that_the_head_model_does_not_know_are_refused(tmp_path):
    file = tmp_path / "small.npz"
    model = toy_head()
    save_head_model(replace(model, expression_basis=model.expression_basis[..., :3]), file)
    imavatar(tmp_path / "person")
    with pytest.raises(InputError) as caught:
        build(tmp_path / "person", "--head_model", str(file))
    assert "6 expression coefficients" in str(caught.value)
    assert "small.npz knows 3" in str(caught.value)
    assert "fitted with by --head_model" in str(caught.value)


@pytest.mark.long
def test_a_run_that_stops_at_a_border_of_the_table_ends_in_the_same_bytes(folder, tmp_path):
    flags = "--iterations 60 --refills 3 --grow_at 0.3 0.6 --quiet --cache_mb 10 --init_points 100"
    argv = ["-s", str(folder), "--method", "monogaussian", *flags.split()]
    argv += ["--checkpoint_iterations", "20", "21", "40"]
    name = "model.safetensors"
    whole = train(parse_train_args([*argv, "-m", str(tmp_path / "whole")])) / name
    for stop in (20, 21, 40):
        start = str(tmp_path / "whole" / "checkpoints" / f"main_{stop}")
        again = [*argv, "-m", str(tmp_path / str(stop)), "--start_checkpoint", start]
        resumed = train(parse_train_args(again)) / name
        assert resumed.read_bytes() == whole.read_bytes(), stop
    assert len(load_file(whole)["table.columns.means"]) == 400


@pytest.fixture
def tracked(tmp_path):
    """A subject whose file holds the landmarks of the toy head, and that head's file."""
    imavatar(tmp_path / "person")
    model = toy_head()
    file = tmp_path / "toy.npz"
    save_head_model(model, file)
    settings = parse_train_args(["-s", str(tmp_path / "person")])
    scene = load_scene("imavatar", settings.model)
    person = model.scaled(4).personal(scene.subject.shape[: model.shape_basis.shape[-1]])
    frame = scene.train[0]
    posed = pose_head(person, frame.flame_pose, expression=frame.expression)
    camera, marks = frame.camera, landmarks(person, posed.vertices)
    seen = (marks @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]) @ camera.K.T
    size = torch.tensor([camera.width, camera.height])
    keypoints = 2 * seen[:, :2] / seen[:, 2:] / size - 1

    def write(content):
        content["frames"][0]["flame_keypoints"] = keypoints.tolist()

    edit(tmp_path / "person/person/train/flame_params.json", write)
    return tmp_path / "person", file, model


def test_a_head_model_whose_landmarks_lie_where_the_tracker_saw_them_is_taken(tracked):
    folder, file, _ = tracked
    assert build(folder, "--head_model", str(file))[1].subject.misfit == ""


def test_a_head_model_of_other_coefficients_is_refused(tracked):
    folder, file, model = tracked
    other = replace(model, shape_basis=-3 * model.shape_basis, template=1.3 * model.template)
    save_head_model(other, file)
    with pytest.raises(InputError) as caught:
        build(folder, "--head_model", str(file))
    assert "toy.npz lie" in str(caught.value)
    assert "of the face's size from where the tracker saw them" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    other_method = parse_train_args(["-s", str(folder), "--head_model", str(file)])
    load_scene("imavatar", other_method.model, other_method.data)  # others may start from it
