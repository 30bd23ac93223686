"""The command lines of train.py and render.py over config files: precedence, flags, refusals."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from pathlib import Path

import pytest

from arguments import parse_render_args, parse_train_args, save_settings
from arguments.schema import SECTIONS, schema_of
from arguments.settings import RenderParams
from utils.errors import InputError

# Every key that a config file of 4DGS may hold, under the section where it declares it.
LEGACY = """
ModelParams = dict(
    sh_degree=3, images="images", resolution=-1, white_background=True, data_device="cuda",
    eval=True, render_process=True, add_points=False, extension=".png", llffhold=8,
)
PipelineParams = dict(convert_SHs_python=False, compute_cov3D_python=False, debug=False)
ModelHiddenParams = dict(
    net_width=128, timebase_pe=4, defor_depth=1, posebase_pe=10, scale_rotation_pe=2, opacity_pe=2,
    timenet_width=64, timenet_output=32, bounds=1.6, plane_tv_weight=0.0002,
    time_smoothness_weight=0.001, l1_time_planes=0.0001,
    kplanes_config={
        'grid_dimensions': 2, 'input_coordinate_dim': 4, 'output_coordinate_dim': 16,
        'resolution': [64, 64, 64, 150],
    },
    multires=[1, 2, 4], no_dx=False, no_grid=False, no_ds=False, no_dr=False, no_do=True,
    no_dshs=True, empty_voxel=False, grid_pe=0, static_mlp=False, apply_rotation=False,
)
OptimizationParams = dict(
    dataloader=False, zerostamp_init=False, custom_sampler=None, iterations=14000,
    coarse_iterations=3000, position_lr_init=0.00016, position_lr_final=0.0000016,
    position_lr_delay_mult=0.01, position_lr_max_steps=20_000, deformation_lr_init=0.00016,
    deformation_lr_final=0.000016, deformation_lr_delay_mult=0.01, grid_lr_init=0.0016,
    grid_lr_final=0.00016, feature_lr=0.0025, opacity_lr=0.05, scaling_lr=0.005, rotation_lr=0.001,
    percent_dense=0.01, lambda_dssim=0, lambda_lpips=0, weight_constraint_init=1,
    weight_constraint_after=0.2, weight_decay_iteration=5000, opacity_reset_interval=300000,
    densification_interval=100, densify_from_iter=500, densify_until_iter=10_000,
    densify_grad_threshold_coarse=0.0002, densify_grad_threshold_fine_init=0.0002,
    densify_grad_threshold_after=0.0002, pruning_from_iter=500, pruning_interval=100,
    opacity_threshold_coarse=0.005, opacity_threshold_fine_init=0.005,
    opacity_threshold_fine_after=0.005, batch_size=2, add_point=False,
)
"""


every_method = pytest.mark.parametrize(
    "method", sorted(path.stem for path in Path("scene/methods").glob("[!_]*.py"))
)


@pytest.fixture
def config(tmp_path):
    def _config(text: str) -> str:
        path = tmp_path / "my.py"
        path.write_text(text)
        return str(path)

    return _config


def train(*argv: str):
    return parse_train_args(["-s", "data/dnerf/lego", *argv])


def refused(*argv: str) -> str:
    with pytest.raises(InputError) as caught:
        train(*argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@every_method
def test_field_names_are_unique_across_sections(method):
    sections = schema_of(method, RenderParams=RenderParams).sections.values()
    names = Counter(f.name for section in sections for f in dataclasses.fields(section))
    names.update(k for section in sections for k in getattr(section, "without_effect", ()))
    assert {name for name, count in names.items() if count > 1} == set()


@every_method
def test_every_setting_has_help(method):
    assert all(spec.help for spec in schema_of(method, RenderParams=RenderParams).specs.values())


def test_the_readme_command_of_4dgs_parses():
    settings = parse_train_args(
        shlex.split(
            'train.py -s data/dnerf/bouncingballs --port 6017 --expname "dnerf/bouncingballs" '
            "--configs arguments/dnerf/bouncingballs.py"
        )[1:]
    )
    assert (settings.dataset, settings.method) == ("dnerf", "fourdgs")
    assert settings.model.source_path == "data/dnerf/bouncingballs"
    assert settings.model.model_path == "output/dnerf/bouncingballs"
    assert settings.run.port == 6017
    assert settings.hidden.kplanes_config["resolution"] == [64, 64, 64, 38]
    assert settings.optim.iterations == 20_000


def test_a_4dgs_config_loads_unchanged_and_reports_what_has_no_effect_in_one_line(config, capsys):
    path = config(LEGACY)
    settings = train("--config", path)
    assert (settings.hidden.net_width, settings.optim.batch_size) == (128, 2)
    assert settings.hidden.kplanes_config["output_coordinate_dim"] == 16
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: without effect: ")
    for key in ("dataloader", "bounds", "data_device", "custom_sampler", "grid_pe"):
        assert f"{key} (" in line


def test_precedence_is_default_then_base_then_file_then_flag(tmp_path, config):
    (tmp_path / "base.py").write_text("OptimizationParams = dict(iterations=2, batch_size=2)\n")
    path = config("_base_ = 'base.py'\nOptimizationParams = dict(iterations=3)\n")
    optim = train("--configs", path).optim
    assert (optim.iterations, optim.batch_size, optim.coarse_iterations) == (3, 2, 3_000)
    assert train("--configs", path, "--iterations", "4").optim.iterations == 4
    assert train("--iterations=4", "--configs", path).optim.iterations == 4


def test_a_key_under_the_wrong_section_takes_effect(config):
    path = config(
        "ModelHiddenParams = dict(kplanes_config=dict(resolution=[1, 1, 1, 1]))\n"
        "ModelParams = dict(kplanes_config=dict(resolution=[2, 2, 2, 2]))\n"
        "OptimizationParams = dict(kplanes_config=dict(resolution=[3, 3, 3, 3]), port=7)\n"
    )
    settings = train("--configs", path)
    assert settings.hidden.kplanes_config["resolution"] == [2, 2, 2, 2]
    assert settings.hidden.kplanes_config["output_coordinate_dim"] == 32
    assert settings.run.port == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ModelParams = dict(white_backgroud=True)",
            "ModelParams has no setting 'white_backgroud'; did you mean 'white_background'?",
        ),
        ("ModelParams = dict(qqq=True)", "ModelParams has no setting 'qqq'; --help lists"),
        (
            "OptimizationParams = dict(iterations='many')",
            "OptimizationParams: iterations is 'many' (str), expected int",
        ),
        (
            "OptimizationParams = dict(iterations=True)",
            "OptimizationParams: iterations is True (bool), expected int",
        ),
        ("ModelHiddenParams = dict(multires=[1, 'a'])", "ModelHiddenParams: multires[1] is 'a'"),
        (
            "ModelHiddenParams = dict(kplanes_config=dict(resolutoin=[1]))",
            "ModelHiddenParams: kplanes_config has no key 'resolutoin'; did you mean 'resolution'?",
        ),
        ("ModelParams = dict(resolution=0)", "resolution is 0, expected -1 or from 1 to 16384"),
        ("ModelParams = dict(resolution=-2)", "resolution is -2, expected -1 or from 1 to 16384"),
        ("ModelParams = dict(sh_degree=4)", "sh_degree is 4, expected from 0 to 3"),
        ("ModelParms = dict(sh_degree=3)", "no section 'ModelParms'; did you mean 'ModelParams'?"),
        ("ModelParams = 3", "ModelParams is 3, expected a dict of settings"),
        ("method = 'fordgs'", "unknown method 'fordgs'; scene/methods has "),
        ("dataset = 'nerf'", "unknown dataset 'nerf'; scene/datasets has auto, "),
        ("method = ['fourdgs']", "unknown method ['fourdgs']"),
    ],
)
def test_a_config_mistake_is_refused_by_file_and_name(config, text, message):
    path = config(text + "\n")
    answer = refused("--configs", path)
    assert answer.startswith(f"{path}: ")
    assert message in answer


def test_a_mistake_in_a_base_names_the_base(tmp_path, config):
    (tmp_path / "base.py").write_text("ModelParams = dict(evel=True, eval=True)\n")
    path = config("_base_ = 'base.py'\nModelParams = dict(eval=False)\n")
    assert refused("--configs", path).startswith(str(tmp_path / "base.py"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--iteration", "3"], "unknown flag '--iteration'; did you mean '--iterations'?"),
        (["--qqq=3"], "unknown flag '--qqq=3'; --help lists the settings"),
        (["stray"], "unknown flag 'stray'"),
        (["--iterations", "abc"], "--iterations is 'abc', expected int"),
        (["--iterations"], "expected one argument"),
        (["--iterations", "-5"], "iterations is -5, expected at least 0"),
        (["--test_iterations", "1", "x"], "--test_iterations is 'x', expected int"),
        (["--eval", "maybe"], "--eval is 'maybe', expected true or false"),
        (["--port", "70000"], "port is 70000, expected from 0 to 65535"),
        (["--kplanes_config", "{"], "--kplanes_config is '{', expected a dict"),
        (["--kplanes_config", "[1]"], "kplanes_config is [1] (list), expected a dict"),
        (["-r", "0"], "resolution is 0, expected -1 or from 1 to 16384"),
        (["--method", "nope"], "unknown method 'nope'; scene/methods has "),
    ],
)
def test_a_wrong_flag_is_refused(argv, message):
    answer = refused(*argv)
    assert answer.startswith("command line: ")
    assert message in answer


@pytest.mark.long
@every_method
def test_every_boolean_can_be_set_and_unset_on_the_command_line(method):
    specs = [spec for spec in schema_of(method).specs.values() if spec.kind is bool]
    assert len(specs) > 10
    on = [f"--{spec.name}" for spec in specs]
    for k in range(4):  # all of them in one command, each way of saying no
        ways = [
            [[f"--{s.name}", "false"], [f"--{s.name}=False"]]
            + [[f"--no-{s.name}"], [f"--no_{s.name}"]] * (not s.name.startswith("no_"))
            for s in specs
        ]
        off = [word for way in ways for word in way[k % len(way)]]
        settings = train("--method", method, *on, *off)
        assert [s.name for s in specs if value(settings, s.name) is not False] == []
        settings = train("--method", method, *off, *on)
        assert [s.name for s in specs if value(settings, s.name) is not True] == []
    settings = train("--method", method, *(word for name in on for word in (name, "true")))
    assert [s.name for s in specs if value(settings, s.name) is not True] == []


def value(settings, name):
    sections = [getattr(settings, name) for name in SECTIONS]
    (found,) = [getattr(section, name) for section in sections if hasattr(section, name)]
    return found


def test_a_flag_named_no_dx_sets_no_dx():
    assert train("--no_dx").hidden.no_dx is True
    assert train("--no_do", "false").hidden.no_do is False
    assert "unknown flag '--no-dx'" in refused("--no-dx")


def test_short_flags_lists_and_dicts():
    settings = parse_train_args(
        shlex.split(
            "-s a -m b -r -1 -w --multires 1 2 --test_iterations "
            "--kplanes_config '{\"resolution\": [8, 8, 8, 4]}' -i rgb"
        )
    )
    assert (settings.model.source_path, settings.model.model_path) == ("a", "b")
    assert settings.model.resolution == -1
    assert settings.hidden.multires == [1, 2]
    assert settings.run.test_iterations == []
    assert settings.hidden.kplanes_config["resolution"] == [8, 8, 8, 4]


def test_a_flag_without_effect_says_so_in_one_line(capsys):
    train("--data_device", "cpu", "--dataloader")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("command line: without effect: ")
    assert all(f"{key} (" in line for key in ("data_device", "dataloader"))


def test_the_last_step_is_always_saved(config):
    path = config("OptimizationParams = dict(iterations=15_000)\n")
    assert 15_000 in train("--configs", path).run.save_iterations
    assert train("--iterations", "300", "--save_iterations", "7").run.save_iterations == [7, 300]


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        (["-s", "data/dnerf/lego/"], "output/dnerf/lego"),
        (["-s", "data/dnerf/lego", "--expname", "a/b"], "output/a/b"),
        (["-s", "data/dnerf/lego", "--expname", "a", "-m", "c"], "c"),
        (["-s", "/lego"], "output/lego"),
    ],
)
def test_the_output_folder_follows_from_what_is_given(argv, folder):
    assert parse_train_args(argv).model.model_path == folder


def test_without_a_scene_or_a_model_the_flag_is_named():
    with pytest.raises(InputError, match="-s PATH"):
        parse_train_args([])
    with pytest.raises(InputError, match="--model_path PATH"):
        parse_render_args([])


@pytest.mark.parametrize("parse", [parse_train_args, parse_render_args])
def test_help_shows_the_settings_with_the_values_of_the_config(parse, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help", "--configs", "arguments/dnerf/trex.py"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "--white_background" in text
    assert "steps of the fine stage [20000]" in text
    schema = schema_of("fourdgs", "dnerf")
    assert all(f"--{spec.name} " in text for spec in schema.specs.values())
    assert "DataParams:\n  How a D-NeRF folder is read.\n" in text
    assert "--hold_out" not in text


def test_help_without_a_family_shows_the_settings_of_all(capsys):
    with pytest.raises(SystemExit):
        parse_train_args(["--help"])
    text = capsys.readouterr().out
    assert all(f"--{name} " in text for name in ("hold_out", "llffhold", "extension", "plate"))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    argv = ["-m", str(folder), "--net_width", "32", "-r", "2", "--quiet", "--iterations", "9"]
    save_settings(train(*argv), folder / "config.json")
    return str(folder)


def test_render_takes_the_settings_of_the_model_without_configs(model):
    settings, what = parse_render_args(["--model_path", model, "--skip_train", "--iteration", "9"])
    assert (settings.hidden.net_width, settings.model.resolution) == (32, 2)
    assert settings.model.model_path == model
    assert what == RenderParams(iteration=9, skip_train=True)
    assert settings.run.quiet is False  # how the training run was run is not taken over


def test_render_puts_the_config_over_the_model_and_flags_over_both(model, config):
    path = config("ModelHiddenParams = dict(net_width=48)\nModelParams = dict(resolution=4)\n")
    settings, _ = parse_render_args(["-m", model, "--config", path, "-r", "8"])
    assert (settings.hidden.net_width, settings.model.resolution) == (48, 8)
    assert settings.optim.iterations == 9


def test_render_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        parse_render_args(["-m", str(tmp_path)])
