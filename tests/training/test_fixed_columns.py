"""Whatever comes and goes, every row keeps its own numbers: an id in a fixed column of integers and
in a learned one, and moments that follow from the id and the steps since the row was born."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable
from tests.training.test_strategies import SETTINGS
from training.births import Births, into_two, opaque_enough, smaller_than
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant
from training.strategies import Every, GradientDensify
from utils.tensors import read_tensors, under, write_tensors

N, SMALL = 40, 0.03


def newborn(rows):
    return {**rows, "age": torch.zeros_like(rows["age"])}


ALWAYS = Every(1, 0, 10**9)
OWN = replace(
    SETTINGS,
    grow=ALWAYS,
    prune=ALWAYS,
    reset=Every(1, 0, 0),
    rules=[opaque_enough(constant(0.01))],
    births=Births(
        smaller_than(SMALL),
        clone=lambda rows, source: newborn(rows),
        split=lambda rows, source: newborn(into_two(rows, source)),
    ),
    max_gaussians=400,
)


def new_table(n):
    points = PointCloud(torch.rand(n, 3), torch.rand(n, 3))
    ids = torch.arange(n) + 2**40  # no float holds these
    columns = GaussianTable.from_points(points, 0).columns
    mark = {"mark": torch.arange(n, dtype=torch.float32)[:, None]}
    fixed = {"id": ids[:, None].repeat(1, 2), "age": torch.zeros(n, dtype=torch.int64)}
    return GaussianTable({**columns, **mark}, fixed)


def optimizers_of(table, state=None):
    columns, still = table.columns, constant(0.0)
    groups = [ParamGroup(k, lambda k=k: [columns[k]], still, rows="drawn") for k in columns]
    return Optimizers(groups, state)


def train_step(table, optimizers, strategy, source, step):
    """Rows that are pulled grow, some others fade and go; each gradient of the mark is the mark."""
    n = len(table)
    gradients = torch.zeros(n, 3)
    gradients[[k for k in range(n) if source.random() < 0.2], 0] = 2.0
    means2d = torch.zeros(n, 3, requires_grad=True)
    means2d.grad = gradients
    strategy.observe([SimpleNamespace(means2d=means2d, radii=torch.ones(n, dtype=torch.int32))])
    with torch.no_grad():
        size = torch.tensor([source.choice([SMALL / 2, 2 * SMALL]) for _ in range(n)])
        table.columns["log_scales"].copy_(size.log()[:, None].expand(-1, 3))
        faint = torch.tensor([source.random() < 0.15 for _ in range(n)])
        table.columns["opacity_logits"].copy_(torch.where(faint, -9.0, 0.0)[:, None])
    strategy.update(step, table, optimizers)
    table.columns["mark"].grad = table.columns["mark"].detach().clone()
    optimizers.step()
    table.fixed.age += 1


def through_the_disk(table, optimizers, strategy, folder):
    write_tensors(folder / "table.safetensors", table.state_dict())
    moments = {f"adam.{k}": v for k, v in optimizers.state().items()}
    moments |= {f"strategy.{k}": v for k, v in strategy.state().items()}
    write_tensors(folder / "moments.safetensors", moments)
    again, grown = new_table(3), GradientDensify(OWN)
    again.allocate(len(table))
    again.load_state_dict(read_tensors(folder / "table.safetensors"))
    moments = read_tensors(folder / "moments.safetensors")
    grown.load_state(under(moments, "strategy."))
    return again, optimizers_of(again, under(moments, "adam.")), grown


def require_rows_whole(table, optimizers):
    ids, age, mark = table.fixed.id, table.fixed.age, table.columns["mark"].detach()
    assert (ids.dtype, age.dtype) == (torch.int64, torch.int64)
    assert ids.shape == (len(table), 2)
    assert torch.equal(ids[:, 0], ids[:, 1])
    assert torch.equal((ids[:, 0] - 2**40).float(), mark[:, 0])
    state = optimizers.state()
    first = mark[:, 0] * (1 - 0.9**age)  # the mean of equal gradients since the row was born
    second = mark[:, 0].square() * (1 - 0.999**age)
    torch.testing.assert_close(state["mark.0.exp_avg"][:, 0], first, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state["mark.0.exp_avg_sq"][:, 0], second, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_ids_and_moments_follow_their_rows_through_clone_split_prune_and_checkpoint(seed, tmp_path):
    source = random.Random(seed)
    torch.manual_seed(seed)
    table, strategy = new_table(N), GradientDensify(OWN)
    optimizers, happened = optimizers_of(table), set()
    for step in range(1, 25):
        before = len(table)
        train_step(table, optimizers, strategy, source, step)
        happened.add((len(table) > before) - (len(table) < before))
        require_rows_whole(table, optimizers)
        if source.random() < 0.3:
            table, optimizers, strategy = through_the_disk(table, optimizers, strategy, tmp_path)
            happened.add("checkpoint")
            require_rows_whole(table, optimizers)
    assert {1, -1, "checkpoint"} <= happened
    assert (table.fixed.age < 24).any()
    assert len(table.fixed.id[:, 0].unique()) < len(table)  # some are copies


def test_new_rows_without_a_fixed_column_are_refused():
    table = new_table(5)
    rows = table.rows(torch.tensor([0]))
    del rows["id"]
    with pytest.raises(ValueError, match="'id'"):
        table.resize(torch.ones(5, dtype=torch.bool), rows, optimizers_of(table))
