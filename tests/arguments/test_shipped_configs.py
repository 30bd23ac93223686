"""Every config file of this repository loads, and says only what has an effect."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from arguments import parse_train_args

FOLDER = Path("arguments")
CONFIGS = sorted(str(path) for path in FOLDER.glob("*/*.py"))

# Training moments per scene; 4DGS gives the time axis half as many rows.
D_NERF = {
    "bouncingballs": 150,
    "hellwarrior": 100,
    "hook": 100,
    "jumpingjacks": 200,
    "lego": 50,
    "mutant": 150,
    "standup": 150,
    "trex": 200,
}


def test_there_are_configs():
    assert {f"arguments/dnerf/{scene}.py" for scene in D_NERF} < set(CONFIGS)


@pytest.mark.parametrize("path", CONFIGS)
def test_every_shipped_config_loads_and_names_nothing_without_effect(path, capsys):
    parse_train_args(["-s", "data/x/y", "--configs", path])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("scene", "moments"), D_NERF.items())
def test_a_dnerf_scene_keeps_the_published_values_but_for_the_defects(scene, moments):
    settings = parse_train_args(["-s", "x", "--configs", f"arguments/dnerf/{scene}.py"])
    hidden, optim = settings.hidden, settings.optim
    # The reference reads half of its time rows; half as many rows, all read, lie as far apart.
    assert hidden.kplanes_config["resolution"] == [64, 64, 64, math.ceil(moments // 2 / 2)]
    assert hidden.kplanes_config["output_coordinate_dim"] == 32
    assert (hidden.multires, hidden.defor_depth, hidden.net_width) == ([1, 2], 0, 64)
    # Published: none. Within these no Gaussian is thrown beyond a box beside the scene's.
    assert 0 < hidden.max_offset <= 1
    assert hidden.max_stretch > 0
    assert (hidden.plane_tv_weight, hidden.time_smoothness_weight) == (1e-4, 1e-2)
    assert (optim.coarse_iterations, optim.iterations, optim.batch_size) == (3_000, 20_000, 1)
    assert (optim.deformation_lr_init, optim.deformation_lr_final) == (1.6e-4, 1.6e-6)
    assert (optim.grid_lr_init, optim.grid_lr_final) == (1.6e-3, 1.6e-5)
    assert optim.opacity_reset_interval == 3_000
