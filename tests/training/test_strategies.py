from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scene.cameras import Camera
from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable
from tests.scene.test_gaussian_model import optimizers_of
from training.births import (
    Births,
    into_two,
    not_larger_than,
    opaque_enough,
    seen_within,
    smaller_than,
)
from training.schedules import constant
from training.strategies import (
    DensifySettings,
    Every,
    GradientDensify,
    above,
    hardest,
    norm_of_sum,
    norm_per_view,
)
from utils.rotations import quats_to_matrices

SETTINGS = DensifySettings(
    grow=Every(100, 500, 15_000),
    prune=Every(100, 500, 15_000),
    reset=Every(3000, 0, 12_000),
    choose=above(constant(1.0)),
    rules=[opaque_enough(constant(0.005)), seen_within(10), not_larger_than(0.1, after=3000)],
    births=Births(smaller_than(0.01)),
    max_gaussians=1000,
    seed=0,
)


@pytest.fixture
def table():
    """Ten Gaussians far smaller than 1 % of the extent, then ten far larger."""
    xyz = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    table = GaussianTable.from_points(PointCloud(xyz, torch.rand(20, 3)), 0)
    with torch.no_grad():
        table.columns["log_scales"][:10] = torch.tensor(0.001).log()
        table.columns["log_scales"][10:] = torch.tensor(0.05).log()
    return table


def seen(gradients):
    """A render whose screen gradients have the given lengths; rows without any were not drawn."""
    means2d = torch.zeros(len(gradients), 3, requires_grad=True)
    means2d.grad = torch.stack([gradients, torch.zeros_like(gradients), 9 + gradients], dim=1)
    return SimpleNamespace(means2d=means2d, radii=(gradients > 0).int())


def pulled(*rows):
    gradients = torch.zeros(20)
    gradients[list(rows)] = 2.0
    return seen(gradients)


def test_small_rows_are_cloned_and_large_ones_split(table):
    before = table.rows(torch.arange(20))
    strategy = GradientDensify(SETTINGS)
    strategy.observe([pulled(3, 15)])
    strategy.update(600, table, optimizers_of(table))
    assert len(table) == 20 + 1 + 1  # one clone; one parent gave way to two children
    clone = table.rows(torch.tensor([19]))
    for name in before:
        torch.testing.assert_close(clone[name][0], before[name][3])
    children = table.rows(torch.tensor([20, 21]))
    torch.testing.assert_close(
        children["log_scales"].exp(), (before["log_scales"][15].exp() / 1.6).expand(2, -1)
    )
    offsets = (children["means"] - before["means"][15]).norm(dim=1)
    assert torch.all(offsets < 0.05 * 5)
    assert torch.all(offsets > 0)


def test_the_threshold_holds_for_the_mean_over_the_views_that_drew_the_row(table):
    strategy = GradientDensify(SETTINGS)
    for strength in (2.0, 0.5):
        gradients = torch.zeros(20)
        gradients[3] = strength
        strategy.observe([seen(gradients)])
    strategy.observe([pulled(5)])  # row 3 is not drawn here
    strategy.update(600, table, optimizers_of(table))
    assert len(table) == 22  # mean of row 3 is 1.25


def test_gradients_of_a_batch_count_as_if_each_view_came_alone(table):
    strategy = GradientDensify(SETTINGS)
    gradients = torch.zeros(20)
    gradients[3] = 0.6  # of a loss averaged over two views
    strategy.observe([seen(gradients), seen(gradients)])
    strategy.update(600, table, optimizers_of(table))
    assert len(table) == 21


@pytest.mark.parametrize("step", [500, 650, 15_100])
def test_nothing_grows_outside_the_schedule(table, step):
    strategy = GradientDensify(SETTINGS)
    strategy.observe([pulled(3, 15)])
    strategy.update(step, table, optimizers_of(table))
    assert len(table) == 20


def test_the_cap_on_gaussians_holds(table):
    strategy = GradientDensify(replace(SETTINGS, max_gaussians=23))
    strategy.observe([pulled(*range(20))])
    strategy.update(600, table, optimizers_of(table))
    assert len(table) == 23


def test_rows_that_are_dots_in_every_view_of_a_pass_are_pruned(table):
    """Half a pixel wide and wider in one of eleven views, and never; one view more than a pass."""
    camera = Camera.from_opencv_c2w(
        torch.eye(4, dtype=torch.float64),
        torch.tensor([[100.0, 0, 16], [0, 100.0, 16], [0, 0, 1]]),
        32,
        32,
    )
    strategy = GradientDensify(replace(SETTINGS, grow=Every(1, 0, 0), least_width=0.5))
    for view in range(11):
        scales = torch.full((20, 3), 0.01)
        scales[:, 1] = 0.021  # at a depth of 4: 0.525 pixels
        scales[4:8, 1] = 0.019  # 0.475 pixels
        scales[6, 2] = 0.021 if view == 3 else 0.019
        gaussians = SimpleNamespace(means=torch.tensor([[0.0, 0, 4]]).expand(20, 3), scales=scales)
        drawn = pulled(*range(20))
        strategy.observe([SimpleNamespace(**vars(drawn), camera=camera, gaussians=gaussians)])
    before = table.columns["means"].detach().clone()
    strategy.update(600, table, optimizers_of(table))
    assert torch.equal(table.columns["means"], before[[k for k in range(20) if k not in (4, 5, 7)]])


def test_transparent_rows_are_pruned_but_never_the_last(table):
    optimizers = optimizers_of(table)
    with torch.no_grad():
        table.columns["opacity_logits"][5:] = -7.0
    strategy = GradientDensify(SETTINGS)
    strategy.observe([pulled()])
    strategy.update(600, table, optimizers)
    assert len(table) == 5
    with torch.no_grad():
        table.columns["opacity_logits"].fill_(-9.0)
    strategy.update(700, table, optimizers)
    assert len(table) == 1


def test_rows_that_no_view_draws_for_a_whole_pass_are_pruned(table):
    optimizers = optimizers_of(table)
    strategy = GradientDensify(SETTINGS)
    unseen = seen(torch.full((20,), 0.1).index_fill(0, torch.tensor([2, 7]), 0.0))
    unseen.radii[:] = 1  # inside the picture, but behind others
    for _ in range(10):
        strategy.observe([unseen])
    strategy.update(600, table, optimizers)
    assert len(table) == 20
    once_more = seen(torch.full((20,), 0.1).index_fill(0, torch.tensor([7]), 0.0))
    strategy.observe([once_more])  # row 2 is drawn at last
    kept = table.columns["means"].detach()[torch.arange(20) != 7]
    strategy.update(700, table, optimizers)
    torch.testing.assert_close(table.columns["means"].detach(), kept)


def test_opacity_reset_caps_opacities_and_clears_their_moments(table):
    optimizers = optimizers_of(table)
    for column in table.columns.values():
        column.grad = torch.ones_like(column)
    optimizers.step()
    GradientDensify(SETTINGS).update(3000, table, optimizers)
    assert table.columns["opacity_logits"].max().item() == pytest.approx(-4.5951, abs=1e-4)
    assert not optimizers.state()["opacity_logits.0.exp_avg"].any()
    assert optimizers.state()["means.0.exp_avg"].any()


def look(opacities):
    """A render of rows that are pulled by nothing and have these opacities."""
    drawn = seen(torch.full((len(opacities),), 1e-9))
    drawn.gaussians = SimpleNamespace(opacities=torch.tensor(opacities)[:, None])
    return drawn


@pytest.mark.parametrize(("opacity", "left"), [("greatest", [0, 1]), ("latest", [1])])
def test_predicted_opacities_prune_by_the_views_since_the_last_pruning(table, opacity, left):
    means = table.columns["means"].detach().clone()
    strategy = GradientDensify(replace(SETTINGS, opacity=opacity, choose=above(constant(9.0))))
    for view in ([0.5, 0.1], [0.001, 0.2]):
        strategy.observe([look([*view, *[0.001] * 18])])
    strategy.update(600, table, optimizers_of(table))
    assert torch.equal(table.columns["means"], means[left])
    strategy.observe([look([0.3, 0.001][: len(left)])])
    strategy.update(700, table, optimizers_of(table))
    assert len(table) == 1


def test_rows_just_born_are_not_pruned_before_a_view_drew_them(table):
    strategy = GradientDensify(replace(SETTINGS, opacity="greatest"))
    drawn = pulled(3, 15)
    drawn.gaussians = SimpleNamespace(opacities=torch.full((20, 1), 0.5))
    drawn.gaussians.opacities[:10] = 0.001
    strategy.observe([drawn])
    strategy.update(600, table, optimizers_of(table))
    # of the opaque ones one was split; the clone of a faint one stays as well
    assert len(table) == 9 + 3


def test_predicted_opacities_are_never_reset(table):
    GradientDensify(replace(SETTINGS, opacity="greatest")).update(3000, table, optimizers_of(table))
    assert table.columns["opacity_logits"].max().item() == pytest.approx(-2.1972, abs=1e-4)


def test_an_unknown_source_of_opacities_is_refused():
    with pytest.raises(
        ValueError, match="opacity is 'none', expected one of stored, greatest, latest"
    ):
        GradientDensify(replace(SETTINGS, opacity="none"))


def test_no_reset_comes_too_late_to_heal(table):
    GradientDensify(SETTINGS).update(15_000, table, optimizers_of(table))
    assert table.columns["opacity_logits"].max().item() == pytest.approx(-2.1972, abs=1e-4)


@pytest.mark.parametrize("count", [1, 39, 40, 1000])
def test_the_hardest_share_is_of_the_pulled_rows_and_knows_no_scale(count):
    source = torch.Generator().manual_seed(count)
    pull = torch.zeros(2 * count)
    rows = torch.randperm(2 * count, generator=source)[:count]
    pull[rows] = torch.rand(count, generator=source) + 0.1
    chosen = hardest(0.025)(pull, 600)
    wanted = 25 * count // 1000 + 1
    assert set(chosen.nonzero()[:, 0].tolist()) == set(pull.topk(wanted).indices.tolist())
    assert torch.equal(hardest(0.025)(1e-6 * pull, 600), chosen)


def test_where_nothing_is_pulled_nothing_is_among_the_hardest():
    assert not hardest(0.025)(torch.zeros(50), 600).any()


def test_views_that_pull_opposite_ways_cancel_in_the_sum_and_not_view_by_view():
    there, back = seen(torch.tensor([2.0, 2.0, 0.0])), seen(torch.tensor([2.0, 2.0, 0.0]))
    back.means2d.grad[0] *= -1
    found = {}
    for statistic in (norm_of_sum, norm_per_view):
        pulls, counts = torch.zeros(3), torch.zeros(3)
        statistic([there, back], pulls, counts)
        found[statistic] = pulls.tolist(), counts.tolist()
    assert found[norm_of_sum] == ([0.0, 4.0, 0.0], [1.0, 1.0, 0.0])
    assert found[norm_per_view] == ([8.0, 8.0, 0.0], [2.0, 2.0, 0.0])


@pytest.mark.parametrize("statistic", [norm_of_sum, norm_per_view])
def test_a_view_that_no_loss_reached_says_nothing(table, statistic):
    strategy = GradientDensify(replace(SETTINGS, statistic=statistic))
    unreached = pulled()
    unreached.means2d.grad = None
    for _ in range(20):
        strategy.observe([unreached])
    assert not strategy.idle.any()
    strategy.observe([unreached, pulled(3, 15)])
    strategy.update(600, table, optimizers_of(table))
    assert len(table) == 22


def test_how_rows_are_born_is_the_method_s_own(table):
    def lifted(rows, source):
        return {**rows, "means": rows["means"] + 7}

    def thirds(rows, source):
        three = {name: value.repeat(3, *[1] * (value.ndim - 1)) for name, value in rows.items()}
        return {**three, "means": torch.rand(len(three["means"]), 3, generator=source) - 7}

    births = Births(smaller_than(0.01), clone=lifted, split=thirds)
    before = table.rows(torch.arange(20))["means"]
    strategy = GradientDensify(replace(SETTINGS, births=births))
    strategy.observe([pulled(3, 15)])
    strategy.update(600, table, optimizers_of(table))
    means = table.columns["means"].detach()
    assert torch.equal(means[:19], before[torch.arange(20) != 15])
    assert torch.equal(means[19], before[3] + 7)
    assert len(means) == 20 + 3
    assert (means[20:] < -6).all()


def test_children_spread_along_the_parent_s_long_axis():
    quat = torch.tensor([[0.8, 0.2, -0.4, 0.4]])
    rows = {
        "means": torch.zeros(1, 3),
        "quats": quat,
        "log_scales": torch.tensor([[0.0, -9.0, -9.0]]),
    }
    rows = {name: value.repeat(250, 1) for name, value in rows.items()}
    children = into_two(rows, torch.Generator().manual_seed(0))
    assert len(children["means"]) == 500
    axis = quats_to_matrices(quat)[0, :, 0]
    along = children["means"] @ axis
    across = children["means"] - along[:, None] * axis
    assert along.std().item() == pytest.approx(1.0, rel=0.15)
    assert across.norm(dim=1).max() < 1e-3
