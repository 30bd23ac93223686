import geoopt
import pytest
import torch
from torch import nn

from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant, linear


def groups(a, b):
    return [
        ParamGroup("a", lambda: [a], constant(0.1)),
        ParamGroup("b", lambda: [b], linear(0.2, 0.1, 10)),
    ]


def parameters():
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(4))


def take_steps(optimizers, a, b, steps):
    for step in steps:
        optimizers.set_learning_rates(step)
        source = torch.Generator().manual_seed(step)
        target = torch.randn(5, 3, generator=source)
        ((a - target).square().sum() + b.square().sum()).backward()
        optimizers.step()


def test_a_saved_and_loaded_state_goes_on_bit_for_bit():
    a, b = parameters()
    take_steps(Optimizers(groups(a, b)), a, b, range(1, 9))

    c, d = parameters()
    first = Optimizers(groups(c, d))
    take_steps(first, c, d, range(1, 5))
    state = {name: value.clone() for name, value in first.state().items()}
    c, d = (nn.Parameter(x.detach().clone()) for x in (c, d))
    take_steps(Optimizers(groups(c, d), state), c, d, range(5, 9))
    assert torch.equal(a, c)
    assert torch.equal(b, d)


def test_one_step_is_adam_s():
    """The first step of Adam moves by the learning rate against the sign of the gradient."""
    a, b = parameters()
    before_a, before_b = a.detach().clone(), b.detach().clone()
    optimizers = Optimizers(groups(a, b))
    optimizers.set_learning_rates(5)
    (a.sum() - b.sum()).backward()
    optimizers.step()
    torch.testing.assert_close(a.detach(), before_a - 0.1)
    torch.testing.assert_close(b.detach(), before_b + 0.15)


def test_every_group_follows_its_own_schedule():
    optimizers = Optimizers(groups(*parameters()))
    for step, expected in ((0, 0.2), (5, 0.15), (10, 0.1), (99, 0.1)):
        optimizers.set_learning_rates(step)
        assert [g.lr for g in optimizers.groups] == pytest.approx([0.1, expected])


def test_a_step_drops_the_gradients_and_skips_parameters_without_one():
    a, b = parameters()
    before = b.detach().clone()
    optimizers = Optimizers(groups(a, b))
    a.sum().backward()
    optimizers.step()
    assert a.grad is None
    assert torch.equal(b, before)
    assert {name.split(".")[0] for name in optimizers.state()} == {"a"}


def test_replaced_rows_keep_their_moments_and_new_rows_start_at_zero():
    a, b = parameters()
    optimizers = Optimizers(groups(a, b))
    take_steps(optimizers, a, b, range(1, 4))
    old = optimizers.state()["a.0.exp_avg"].clone()
    kept = torch.tensor([3, 1])
    new = nn.Parameter(torch.cat([a.detach()[kept], torch.ones(1, 3)]))
    optimizers.replace(a, new, kept)
    found = optimizers.state()["a.0.exp_avg"]
    assert torch.equal(found[:2], old[kept])
    assert torch.equal(found[2], torch.zeros(3))
    new.sum().backward()
    before = new.detach().clone()
    optimizers.step()
    assert not torch.equal(new, before)


def test_zeroed_moments_leave_the_others():
    a, b = parameters()
    optimizers = Optimizers(groups(a, b))
    take_steps(optimizers, a, b, range(1, 4))
    optimizers.zero_moments(b)
    state = optimizers.state()
    assert not state["b.0.exp_avg"].any()
    assert not state["b.0.exp_avg_sq"].any()
    assert state["a.0.exp_avg"].any()


def test_what_earlier_stages_left_in_gradients_is_dropped():
    a, b = parameters()
    (a.sum() + b.sum()).backward()
    before = b.detach().clone()
    optimizers = Optimizers(groups(a, b))
    a.sum().backward()
    optimizers.step()
    assert torch.equal(b, before)
    assert {name.split(".")[0] for name in optimizers.state()} == {"a"}


def test_a_group_without_parameters_is_left_out():
    optimizers = Optimizers([ParamGroup("none", lambda: [], constant(1.0)), *groups(*parameters())])
    assert [g.name for g in optimizers.groups] == ["a", "b"]


def test_rows_that_no_view_drew_keep_their_values_and_moments():
    a, b = parameters()
    optimizers = Optimizers(
        [ParamGroup("a", lambda: [a], constant(0.1), rows="drawn"), groups(a, b)[1]]
    )
    take_steps(optimizers, a, b, range(1, 4))
    before_a, before_b = a.detach().clone(), b.detach().clone()
    moments = optimizers.state()["a.0.exp_avg"].clone()
    (a.square().sum() + b.square().sum()).backward()
    drawn = torch.tensor([True, False, True, False, False])
    optimizers.step(drawn)
    moved = (a.detach() != before_a).any(1)
    assert torch.equal(moved, drawn)
    assert torch.equal((optimizers.state()["a.0.exp_avg"] != moments).any(1), drawn)
    assert (b.detach() != before_b).all()


def test_rows_without_a_gradient_keep_value_and_moments_and_the_others_step_as_in_torch():
    a, _ = parameters()
    optimizers = Optimizers([ParamGroup("a", lambda: [a], constant(0.1), rows="touched")])
    dense = nn.Parameter(a.detach().clone())
    theirs = torch.optim.Adam([dense], lr=0.1, eps=1e-15)
    for step in range(1, 9):
        touched = torch.tensor([step % 2 == 0, True, step < 4, False, False])
        target = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        before, moments = a.detach().clone(), {k: v.clone() for k, v in optimizers.state().items()}
        for param in (a, dense):
            theirs.zero_grad()
            (param - target)[touched].square().sum().backward()
        optimizers.step()
        theirs.step()
        assert torch.equal((a.detach() != before).any(1), touched)
        for name in moments.keys() - {"a.0.step"}:
            assert torch.equal(optimizers.state()[name][~touched], moments[name][~touched]), name
    torch.testing.assert_close(a[1], dense[1], rtol=1e-5, atol=1e-6)  # touched in every step
    assert not torch.allclose(a[2], dense[2])  # there momentum drifts on


def test_rows_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="group a: rows is 'some'; there is all, drawn, touched"):
        ParamGroup("a", list, constant(1.0), rows="some")


def test_a_row_mask_is_ignored_once_rows_came_and_went_though_there_are_as_many():
    """A clone and a pruning: the mask of before has the table's length and means other rows."""
    xyz = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
    table = GaussianTable.from_points(PointCloud(xyz, xyz), 0)
    columns = table.columns
    groups = [
        ParamGroup(k, lambda k=k: [columns[k]], constant(1e-2), rows="drawn") for k in columns
    ]
    optimizers = Optimizers(groups)
    drawn = torch.arange(8) < 4  # of the views before

    def moved():
        before = columns["means"].detach().clone()
        for column in columns.values():
            column.grad = torch.ones_like(column)
        optimizers.step(drawn)
        return (columns["means"].detach() != before).any(1)

    assert torch.equal(moved(), drawn)
    table.resize(torch.ones(8, dtype=torch.bool), table.rows(torch.tensor([1, 2])), optimizers)
    table.keep((torch.arange(10) != 0) & (torch.arange(10) != 6), optimizers)
    assert len(table) == len(drawn)
    assert moved().all()
    assert torch.equal(moved(), drawn)  # once alone


def test_many_steps_are_those_of_torch():
    a, b = parameters()
    c, d = (nn.Parameter(x.detach().clone()) for x in (a, b))
    ours = Optimizers(groups(a, b))
    theirs = torch.optim.Adam([{"params": [c], "lr": 0.1}, {"params": [d], "lr": 0.2}], eps=1e-15)
    for step in range(1, 30):
        take_steps(ours, a, b, [step])
        theirs.param_groups[1]["lr"] = linear(0.2, 0.1, 10)(step)
        target = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        theirs.zero_grad()
        ((c - target).square().sum() + d.square().sum()).backward()
        theirs.step()
    torch.testing.assert_close(a, c, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(b, d, rtol=1e-5, atol=1e-6)


def on_sphere(dtype=torch.float32, **options):
    source = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(20, 4, 4, generator=source), dim=-1)
    param = nn.Parameter(points.to(dtype))
    return param, ParamGroup("r", lambda: [param], constant(1e-2), manifold="sphere", **options)


def pull(param, step, scale=1.0):
    drawn = torch.randn(param.shape, generator=torch.Generator().manual_seed(step)) + 0.3
    param.grad = scale * drawn.to(param)


@pytest.mark.parametrize("scale", [1.0, 1e-8])  # as large as eps, too
def test_steps_on_the_sphere_are_geoopt_s_and_stay_on_it(scale):
    param, group = on_sphere(torch.float64)
    single, of_single = on_sphere()
    ours = Optimizers([group]), Optimizers([of_single])
    point = geoopt.ManifoldParameter(param.detach().clone(), manifold=geoopt.Sphere())
    theirs = geoopt.optim.RiemannianAdam([point], lr=1e-2)
    for step in range(1, 1001):
        for each in (param, single, point):
            pull(each, step, scale)
        for optimizers in ours:
            optimizers.step()
        theirs.step()
    assert (param - point).abs().max() < 1e-12
    assert (single - point).abs().max() < 1e-4
    for each in (param, single):
        assert (each.norm(dim=-1) - 1).abs().max() < 1e-6


def test_a_saved_state_goes_on_along_the_sphere_bit_for_bit():
    param, group = on_sphere()
    unbroken = Optimizers([group])
    for step in range(1, 9):
        pull(param, step)
        unbroken.step()
        if step == 4:
            state = {name: value.clone() for name, value in unbroken.state().items()}
            halfway = param.detach().clone()
    again, group = on_sphere()
    again.data.copy_(halfway)
    resumed = Optimizers([group], state)
    for step in range(5, 9):
        pull(again, step)
        resumed.step()
    assert torch.equal(param, again)


@pytest.mark.parametrize("keeps", [True, False])
def test_moments_on_the_sphere_follow_their_rows_unless_told_to_start_afresh(keeps):
    param, group = on_sphere(keeps_moments=keeps)
    optimizers = Optimizers([group])
    pull(param, 1)
    optimizers.step()
    old = optimizers.state()["r.0.exp_avg"].clone()
    kept = torch.tensor([3, 1])
    new = nn.Parameter(param.detach()[[3, 1, 1]])
    optimizers.replace(param, new, kept)
    if keeps:
        assert torch.equal(optimizers.state()["r.0.exp_avg"][:2], old[kept])
    else:
        assert optimizers.state() == {}
    pull(new, 2)
    optimizers.step()
    assert (new.norm(dim=-1) - 1).abs().max() < 1e-6


def test_an_unknown_manifold_and_one_by_rows_are_refused():
    with pytest.raises(ValueError, match="no manifold 'torus'; there is sphere"):
        ParamGroup("r", list, constant(1.0), manifold="torus")
    with pytest.raises(ValueError, match="all rows step"):
        ParamGroup("r", list, constant(1.0), manifold="sphere", rows="drawn")
