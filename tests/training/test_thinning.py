"""Rows that hardly show are dropped when growth has ended."""

import torch
from safetensors.torch import load_file

from arguments import parse_train_args
from gaussian_renderer import heaviest, render
from scene.cameras import Camera, intrinsics
from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable, activate
from tests.scene.test_gaussian_model import optimizers_of
from tests.tiny_scene import write_tiny_scene
from train import train
from training.strategies import Every, Keep
from training.thinning import Thinned

CAMERA = Camera(torch.eye(4), intrinsics(40.0, 40.0, 16.0, 12.0), 32, 24)


def walls():
    """Eight opaque rows before eight that they hide; which is which is mixed."""
    xy = torch.cartesian_prod(torch.linspace(-0.5, 0.5, 4), torch.tensor([-0.2, 0.2]))
    near = torch.cat([torch.full((8, 1), 2.0), torch.full((8, 1), 4.0)])
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    xyz = torch.cat([torch.cat([xy, 2 * xy]), near], 1)[order]
    table = GaussianTable.from_points(PointCloud(xyz, torch.rand(16, 3)), 0)
    with torch.no_grad():
        table.columns["log_scales"].fill_(-1.5)
        table.columns["opacity_logits"].fill_(6.0)
    return table


def view_of(table):
    return render(CAMERA, activate(table.columns, 0), torch.zeros(3))


def run(strategy, table, steps):
    for step in steps:
        strategy.observe([view_of(table)])
        strategy.update(step, table, optimizers_of(table))


def test_what_is_hidden_goes_after_the_last_look_and_not_before():
    table, strategy = walls(), Thinned(Keep(), 0.5, Every(1, 3, 6))
    run(strategy, table, range(1, 6))
    assert len(table) == 16
    run(strategy, table, [6])
    assert table.columns["means"][:, 2].tolist() == [2.0] * 8
    run(strategy, table, [7])
    assert len(table) == 8


def test_looks_begin_afresh_where_rows_went():
    table, strategy = walls(), Thinned(Keep(), 0.5, Every(1, 0, 3))
    run(strategy, table, [1, 2])
    table.keep(torch.arange(16) > 3, optimizers_of(table))
    run(strategy, table, [3])
    assert len(table) == 6


class PruneFirst(Keep):
    """Prunes the first row in every step from `start` on."""

    def __init__(self, start):
        self.start = start

    def update(self, step, table, optimizers):
        if step >= self.start:
            table.keep(torch.arange(len(table)) > 0, optimizers)


def test_a_row_that_is_pruned_in_the_step_of_the_last_look_keeps_none_of_the_others():
    table, strategy = walls(), Thinned(PruneFirst(3), 0.5, Every(1, 0, 3))
    run(strategy, table, [1, 2, 3])
    assert table.columns["means"][:, 2].tolist() == [2.0] * 7


def test_its_state_goes_on_from_the_middle_of_its_looks():
    table, first = walls(), Thinned(Keep(), 0.25, Every(1, 0, 4))
    run(first, table, [1, 2])
    second = Thinned(Keep(), 0.25, Every(1, 0, 4))
    second.load_state(first.state())
    run(first, table, [3])
    again = walls()
    run(second, again, [3])
    assert torch.equal(first.weight, second.weight)


def test_a_run_resumed_from_the_middle_of_the_looks_ends_in_the_same_bytes(tmp_path):
    data = write_tiny_scene(tmp_path / "tiny")  # of 12 training views: looks at steps 11 to 22
    flags = (
        "--coarse_iterations 2 --iterations 30 --densify_until_iter 10 --thin_share 0.5 --quiet "
        "--shared_hidden --multires 1 --init_points 60 --checkpoint_iterations 15 --device cpu"
    )

    def run(name, *more):
        out = tmp_path / name
        train(parse_train_args(["-s", str(data), "-m", str(out), *flags.split(), *more]))
        return load_file(out / "point_cloud/iteration_30/model.safetensors")

    whole = run("whole")
    again = run("again", "--start_checkpoint", str(tmp_path / "whole/checkpoints/fine_15"))
    assert len(whole["table.columns.means"]) == 30
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_at_least_one_row_stays():
    assert heaviest(torch.tensor([3.0]), 0.9).tolist() == [True]
    assert heaviest(torch.tensor([3.0, 5.0, 1.0, 4.0]), 0.5).tolist() == [False, True, False, True]
