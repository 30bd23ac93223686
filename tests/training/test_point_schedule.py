from types import SimpleNamespace

import pytest
import torch

from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable
from tests.scene.test_gaussian_model import optimizers_of
from training.point_schedule import PointSchedule, Refill, refills
from utils.errors import InputError

REFILLS = (Refill(5, 30), Refill(15, 60), Refill(25, 45))


def jittered(rows, source):
    return {**rows, "means": rows["means"] + torch.randn(rows["means"].shape, generator=source)}


def schedule():
    return PointSchedule(REFILLS, 5, jittered, seed=0)


@pytest.fixture
def table():
    xyz = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    return GaussianTable.from_points(PointCloud(xyz, xyz), 0)


def view(n, *rows):
    """A render of n rows that drew these."""
    radii = torch.zeros(n, dtype=torch.int32)
    radii[list(rows)] = 3
    return SimpleNamespace(radii=radii)


def half(n, step):
    """A render of a random half of the rows, another at each step."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(step))
    return view(n, *order[: n // 2].tolist())


def take_steps(points, table, optimizers, steps):
    """Steps with gradients, as the loop takes them; the counts after each."""
    counts = []
    for step in steps:
        for column in table.columns.values():
            source = torch.Generator().manual_seed(step)
            column.grad = torch.randn(column.shape, generator=source)
        points.observe([half(len(table), step)])
        points.update(step, table, optimizers)
        optimizers.step()
        counts.append(len(table))
    return counts


def test_the_number_of_rows_follows_the_table_of_counts(table):
    counts = take_steps(schedule(), table, optimizers_of(table), range(1, 25))
    assert counts == [20] * 4 + [30] * 10 + [60] * 10


@pytest.mark.parametrize(("drawn", "left"), [(44, 45), (45, 45), (50, 50), (60, 60)])
def test_where_the_table_asks_for_fewer_rows_all_that_were_drawn_stay(table, drawn, left):
    points, optimizers = schedule(), optimizers_of(table)
    take_steps(points, table, optimizers, range(1, 21))
    points.observe([view(60, *range(drawn))])
    points.update(25, table, optimizers)
    assert len(table) == left


def test_rows_that_no_view_drew_go_and_copies_of_the_others_take_their_place(table):
    points, before = schedule(), table.columns["means"].detach().clone()
    for rows in ((0, 3), (3, 7), (11,)):
        points.observe([view(20, *rows), view(20, 5)])
    points.update(5, table, optimizers_of(table))
    means = table.columns["means"].detach()
    assert torch.equal(means[:5], before[[0, 3, 5, 7, 11]])
    assert len(means) == 30
    colors, old = table.columns["sh_dc"].detach(), set(map(tuple, before.tolist()))
    drawn = colors[:5, 0].tolist()
    assert all(color in drawn for color in colors[5:, 0].tolist())
    assert not any(tuple(place) in old for place in means[5:].tolist())  # jittered


def test_what_counts_as_drawn_is_the_method_s_own(table):
    points = PointSchedule(REFILLS, 5, jittered, 0, visible=lambda render: render.radii > 5)
    near = view(20, 1, 2)
    near.radii[2] = 9
    points.observe([near])
    before = table.columns["means"].detach()[2].clone()
    points.update(5, table, optimizers_of(table))
    assert torch.equal(table.columns["means"].detach()[0], before)


@pytest.mark.parametrize("step", [3, 4, 7])
def test_between_the_intervals_and_before_the_first_refill_nothing_happens(table, step):
    points = PointSchedule((Refill(8, 30),), 4, jittered, seed=0)
    points.observe([view(20, 1)])
    points.update(step, table, optimizers_of(table))
    assert len(table) == 20


def test_a_table_that_no_view_drew_at_all_stops_with_what_to_check(table):
    points = schedule()
    points.observe([view(20)])
    with pytest.raises(InputError, match=r"any of the 20 points.*masks.*cameras") as caught:
        points.update(5, table, optimizers_of(table))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("stop", [3, 5, 13, 15])
def test_a_resumed_schedule_ends_in_the_same_bytes(table, stop):
    unbroken = GaussianTable(table.rows(torch.arange(20)))
    whole = optimizers_of(unbroken)
    take_steps(schedule(), unbroken, whole, range(1, 31))
    points, optimizers = schedule(), optimizers_of(table)
    take_steps(points, table, optimizers, range(1, stop + 1))
    state = {name: value.clone() for name, value in points.state().items()}
    resumed = schedule()
    resumed.load_state(state)
    take_steps(resumed, table, optimizers, range(stop + 1, 31))
    for name, column in unbroken.columns.items():
        assert torch.equal(table.columns[name], column), name


def test_refills_come_where_the_interval_lets_them_and_counts_fit_the_steps():
    assert refills(100, [15, 30.2], [], every=10, most=350) == [
        Refill(0, 100), Refill(20, 200), Refill(30, 350),
    ]  # fmt: skip
    assert refills(100, [10], [70], every=10, most=350)[1] == Refill(10, 70)
    with pytest.raises(InputError, match="grow_to has 1 numbers, grow_at 2"):
        refills(100, [10, 20], [70], every=10, most=350)


def test_after_the_last_refill_rows_stay_and_moments_are_forgotten_only_on_demand(table):
    points = PointSchedule(REFILLS, 5, jittered, 0, until=9)
    assert take_steps(points, table, optimizers_of(table), range(1, 25))[-1] == 30
    optimizers = optimizers_of(table)
    forgets = PointSchedule(REFILLS, 5, jittered, 0, keeps_moments=False)
    take_steps(forgets, table, optimizers, range(1, 5))
    assert optimizers.moments
    forgets.observe([half(len(table), 5)])
    forgets.update(5, table, optimizers)
    assert not optimizers.moments
