"""Neural Parametric Gaussians: the two stages, what is born in volumes, and how it rides."""

from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from scene import load_scene
from scene.frames import FrameLoader
from scene.methods import npg
from tests.building import CPU, built
from tests.tiny_scene import write_tiny_scene
from training.births import elsewhere, two_elsewhere
from training.optimizers import Optimizers
from training.samplers import Shuffled, TwoBackgrounds, Windows
from training.strategies import GradientDensify
from utils.random import generator
from utils.rotations import quats_to_matrices
from utils.sh import C0

SMALL = "--n_points 60 --n_shapes 14 --net_width 16 --net_depth 1 --window 3 --n_nearest 8"
SILHOUETTES_ALONE = ("--lambda_flow", "0", "--lambda_colour", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("npg") / "tiny")


def made(folder, *flags):
    words = ["-s", str(folder), "-m", "unused", "--method", "npg", *SMALL.split(), *flags]
    settings = parse_train_args(words)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    return scene, built(scene, settings)


def stirred(method):
    """The method with a cloud that moves, filled with Gaussians."""
    with torch.no_grad():
        method.basis.head.weight.add_(
            0.03 * torch.randn(method.basis.head.weight.shape, generator=generator(0, "stir"))
        )
    method.fill()
    return method


def test_rates_of_the_coarse_stage_are_the_published_ones(folder):
    words = "--coarse_iterations 100001 --coarse_lr 5e-4 --coarse_still 0"
    _, method = made(folder, *words.split())
    group = method.stages()[0].params[0]
    assert (group.lr(1), group.lr(2)) == (0, 0)
    assert group.lr(5_001) == pytest.approx(5e-4, rel=1e-3)
    assert group.lr(100_001) == pytest.approx(2.5e-5)


def test_a_cloud_stands_still_until_its_network_may_learn(folder):
    _, method = made(folder, "--coarse_iterations", "100", "--coarse_still", "0.3")
    network, shapes = method.stages()[0].params[:2]
    assert [network.lr(step) for step in (1, 30)] == [0, 0]
    assert network.lr(40) > 0
    assert shapes.lr(20) > 0


@pytest.mark.long
def test_the_coarse_stage_finds_the_silhouettes(folder):
    """By them alone, its distance to those of frames that it did not see falls to a third, squared
    to a ninth."""
    scene, method = made(folder, "--coarse_iterations", "120", *SILHOUETTES_ALONE)
    loader, stage = FrameLoader(64, CPU), method.stages()[0]
    held = [loader.load(frame, torch.ones(3)) for frame in scene.test]

    def away(step):
        with torch.no_grad():
            return float(method._chamfer([], held, step))

    before, optimizers = away(10_000), Optimizers(stage.params)
    batches = stage.sampler(scene.train, stage.name, 0, 0)
    for step in range(1, stage.iterations + 1):
        optimizers.set_learning_rates(step)
        seen = [loader.load(frame, torch.ones(3)) for frame in next(batches)]
        sum(term([], seen, step) for term in stage.losses).backward()
        optimizers.step()
    assert away(10_001) < before / 9


def test_gaussians_are_born_in_their_volumes(folder):
    _, method = made(folder, "--rows_per_point", "3")
    stirred(method)
    assert len(method.table) == 180
    for time in (0.0, 0.6):
        cloud, posed = method.cloud(time), method._posed(time)
        members = cloud[method.near[method.table.fixed.anchor]]
        assert (posed["means"] >= members.amin(1) - 1e-5).all()
        assert (posed["means"] <= members.amax(1) + 1e-5).all()


def test_gaussians_turn_with_a_cloud_that_turns(folder):
    """A turn of the whole cloud, by the shapes that are its linear maps, about the left."""
    _, method = made(folder, "--spread", "0")
    method.fill()
    rest = method._posed(0.5)
    angle = torch.tensor(0.9)
    with torch.no_grad():
        method.basis.head.bias[0] = angle.cos()
        # x' = cos x - sin y, y' = sin x + cos y, z' = z: the shapes 4 + 3 i + j are e_i x_j.
        method.basis.head.bias[4 + 1] = -angle.sin()
        method.basis.head.bias[4 + 3] = angle.sin()
        method.basis.head.bias[4 + 8] = 1 - angle.cos()
    turned = method._posed(0.5)
    R = torch.eye(3)
    R[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    expected = R @ quats_to_matrices(rest["quats"])
    assert torch.allclose(quats_to_matrices(turned["quats"]), expected, atol=1e-4)
    about = method.middle
    moved = (rest["means"] - about) @ R.T + about
    assert torch.allclose(turned["means"], moved, atol=1e-4)


def test_the_still_box_never_moves(folder):
    _, method = made(folder, "--static_box")
    stirred(method)
    assert len(method.table) == 3 * 60 + 20
    still, moving = slice(-20, None), slice(0, -20)
    first, last = method._posed(0.0), method._posed(1.0)
    for name in ("means", "quats"):
        assert torch.allclose(first[name][still], last[name][still], atol=1e-5)
    assert not torch.allclose(first["means"][moving], last["means"][moving], atol=1e-3)
    low, high = method.facts.box
    assert (first["means"][still] > low).all()
    assert (first["means"][still] < high).all()


def test_the_anchor_costs_what_the_cloud_moved(folder):
    scene, method = made(folder, "--spread", "0")  # shape 1 is a shift along x
    stirred(method)
    assert method._moved([], scene.train[:2], 1).item() == 0
    with torch.no_grad():
        method.basis.head.bias[1] += 0.3  # along x
    assert method._moved([], scene.train[:2], 1).item() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_any_births_and_deaths_leave_every_number_with_its_row(folder, seed):
    """Clones, splits and prunings in a random order: colours tell the rows apart."""
    _, method = made(folder)
    stirred(method)
    table, source = method.table, generator(seed, "rows")
    groups = method.optim.table_groups(table, method.facts.extent, 100)
    optimizers = Optimizers(groups)
    with torch.no_grad():
        n = len(table)
        table.columns["sh_dc"][:] = torch.arange(n)[:, None, None].float()
        volume = dict(enumerate(table.fixed.anchor.tolist()))
        for column in table.columns.values():
            moments = optimizers._moments(column)
            ids = torch.arange(n).float().view(-1, *[1] * (column.ndim - 1))
            moments.exp_avg.copy_(ids.expand_as(column))
    strategy = method._densify(1_000)
    assert isinstance(strategy, GradientDensify)
    births = strategy.settings.births
    for k in range(6):
        n = len(table)
        if k % 3 == 2:
            table.keep(torch.rand(n, generator=source) > 0.3, optimizers)
        else:
            chosen = torch.randperm(n, generator=source)[: n // 3]
            born = (births.clone, births.split)[k % 3](table.rows(chosen), source)
            keep = torch.ones(n, dtype=torch.bool)
            if k % 3:
                keep[chosen] = False
            table.resize(keep, born, optimizers)
        ids = table.columns["sh_dc"][:, 0, 0].long()
        assert {len(column) for column in table.every().values()} == {len(ids)}
        assert table.fixed.anchor.tolist() == [volume[i] for i in ids.tolist()]
        for column in table.columns.values():
            moment = optimizers.moments[column].exp_avg.flatten(1)
            wanted = ids.float()[:, None]
            assert ((moment == wanted) | (moment == 0)).all()


def test_children_lie_elsewhere_in_the_volume_and_are_smaller():
    rows = {
        "blend": torch.zeros(5, 8), "log_scales": torch.zeros(5, 3), "quats": torch.ones(5, 4),
        "anchor": torch.arange(5),
    }  # fmt: skip
    clones = elsewhere(rows, generator(0))
    assert ((clones["blend"] >= 0) & (clones["blend"] <= 1)).all()
    assert torch.equal(clones["anchor"], rows["anchor"])
    halves = two_elsewhere(rows, generator(0))
    assert halves["anchor"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert torch.allclose(halves["log_scales"].exp(), torch.tensor(1 / 1.6))
    assert not torch.equal(halves["blend"][:5], halves["blend"][5:])


def test_windows_show_moments_that_follow_each_other_and_moments_far_apart(folder):
    scene, _ = made(folder)
    batches = Windows(4, longest=12)(scene.train, "coarse", 0, 0)
    times = sorted(frame.time for frame in scene.train)
    seen = [[frame.time for frame in next(batches)] for _ in range(18)]
    assert sorted(seen[::2]) == [times[k : k + 4] for k in range(9)]  # each window once
    hop = 3
    spread = [times[k : k + 3 * hop + 1 : hop] for k in range(len(times) - 3 * hop)]
    assert sorted(seen[1 : 2 * len(spread) : 2]) == spread
    assert {frame.camera.width for frame in next(batches)} == {12}
    assert {frame.flow for frame in next(batches)} == {None}


def test_resumed_windows_go_on_where_the_unbroken_ones_would(folder):
    scene, _ = made(folder)
    unbroken, resumed = (Windows(4, 12)(scene.train, "coarse", 0, start) for start in (0, 11))
    for _ in range(11):
        next(unbroken)
    for _ in range(5):
        assert [f.time for f in next(unbroken)] == [f.time for f in next(resumed)]


def test_two_backgrounds_alternate_with_the_step(folder):
    scene, _ = made(folder)
    frames = TwoBackgrounds(Shuffled())(scene.train, "splat", 0, 3)
    assert [float(next(frames)[0].background[0]) for _ in range(4)] == [1, 0, 1, 0]


def test_without_a_subject_in_the_pictures_nothing_is_pulled(folder):
    scene, method = made(folder)
    blank = replace(
        scene.train[0], image=torch.ones(3, 24, 24), alpha=torch.zeros(1, 24, 24),
        background=torch.ones(3),
    )  # fmt: skip
    assert float(method._chamfer([], [blank], 1)) == 0


def test_points_learn_the_colours_of_the_pictures(folder):
    """A few steps of colours alone bring blurred pictures nearer."""
    scene, method = made(folder)
    loader, stage = FrameLoader(64, CPU), method.stages()[0]
    optimizers = Optimizers([group for group in stage.params if group.name == "rgb"])
    frames = [loader.load(frame, torch.ones(3)) for frame in scene.train[:3]]
    found = []
    for step in range(1, 25):
        optimizers.set_learning_rates(step)
        loss = method._colour([], frames, step)
        loss.backward()
        optimizers.step()
        found.append(loss.item())
    assert found[-1] < found[0] / 2


def test_gaussians_are_born_in_the_colour_of_their_point(folder):
    _, method = made(folder)
    colours = torch.rand(60, 3, generator=generator(0, "colours"))
    method.likeness["rgb"].data.copy_(colours)
    method.fill()
    rgb = 0.5 + C0 * method.table.columns["sh_dc"][:, 0].detach()
    expected = colours.clamp(*npg.SHADES)[method.table.fixed.anchor]
    assert torch.allclose(rgb, expected, atol=1e-5)
