"""A fixed number of control points, of which faint ones begin again beside opaque ones."""

import torch
from torch import nn

from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant
from training.strategies import Every, Relocate


def test_faint_ones_begin_again_beside_opaque_ones():
    columns = {
        "means": nn.Parameter(torch.tensor([[0.0, 0, 0], [5, 0, 0], [9, 9, 9]])),
        "log_scales": nn.Parameter(torch.full((3, 1), -3.0)),
        "opacity_logits": nn.Parameter(torch.tensor([[-9.0], [2.0], [-9.0]])),
        "rgb": nn.Parameter(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])),
    }
    groups = [ParamGroup(k, lambda k=k: [columns[k]], constant(0.0)) for k in columns]
    optimizers = Optimizers(groups)
    sum(column.sum() for column in columns.values()).backward()
    optimizers.step()
    before = {name: column.detach().clone() for name, column in columns.items()}
    strategy = Relocate(columns, 0.05, Every(10, 0, 100), seed=0)
    strategy.update(9, None, optimizers)
    assert all(torch.equal(columns[name], before[name]) for name in columns)
    strategy.update(10, None, optimizers)
    for name, column in columns.items():
        assert torch.equal(column[1], before[name][1]), name
    away = (columns["means"][[0, 2]] - before["means"][1]).norm(dim=1)
    assert bool((away > 0).all())
    assert float(away.detach().max()) < 0.3  # six widths
    assert columns["rgb"][[0, 2]].tolist() == [[1, 0, 0]] * 2
    assert torch.allclose(columns["opacity_logits"][[0, 2]].sigmoid(), torch.tensor(0.1))
    assert bool((columns["log_scales"][[0, 2]] < -3).all())
    moments = optimizers.moments[columns["means"]]
    assert not moments.exp_avg[[0, 2]].any()
    assert bool(moments.exp_avg[1].any())


def test_where_all_are_faint_none_moves():
    columns = {
        "means": nn.Parameter(torch.zeros(2, 3)),
        "log_scales": nn.Parameter(torch.zeros(2, 1)),
        "opacity_logits": nn.Parameter(torch.full((2, 1), -9.0)),
    }
    Relocate(columns, 0.05, Every(1, 0, 9), seed=0).update(1, None, Optimizers([]))
    assert not columns["means"].any()
