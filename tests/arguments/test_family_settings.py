"""The settings of a family: refused where another family is read, found by `--dataset auto`."""

from __future__ import annotations

import dataclasses
import json

import pytest

from arguments import differences, load_settings, parse_render_args, parse_train_args, save_settings
from scene import load_scene
from scene.datasets.auto import families, params_of
from tests.scene.datasets.tiny_folders import TINY
from utils.errors import InputError

VALUES = {  # a setting of some families, not at its default
    "hold_out": "0.2",
    "hold_out_blocks": "25",
    "mouth_box": ["-1", "-1", "-1", "1", "1", "1"],
    "head_model": "head.npz",
    "llffhold": "4",
    "images": "rgb",
    "extension": ".jpg",
    "plate": "true",
    "part": "all",
    "test_videos": ["a"],
    "fixed_head": "true",
    "torso_points": "100",
    "only_json": "true",
    "size": "2",
    "elevation": "10",
    "radius": "3",
    "fovy": "40",
    "held_out_anchors": ["1"],
    "mask_folder": "masks",
}
HAVING = {
    "hold_out": {"imavatar", "insta", "nerfblendshape", "rgba_video", "ub4d"},
    "hold_out_blocks": {"imavatar", "insta", "nerfblendshape", "rgba_video", "ub4d"},
    "mouth_box": {"gaussianavatars", "imavatar", "insta", "nerface", "nerfblendshape"},
    "head_model": {"gaussianavatars", "imavatar", "insta"},
    "llffhold": {"colmap"},
    "images": {"colmap"},
    "extension": {"dnerf", "gaussianavatars", "imavatar", "insta", "nerface"},
    "plate": {"nerface", "nerfblendshape"},
    "part": {"gaussianavatars", "imavatar", "nerface", "nerfblendshape"},
    "test_videos": {"imavatar"},
    "fixed_head": {"gaussianavatars", "imavatar"},
    "torso_points": {"imavatar"},
    "only_json": {"imavatar"},
    "size": {"rgba_video"},
    "elevation": {"rgba_video"},
    "radius": {"rgba_video"},
    "fovy": {"rgba_video"},
    "held_out_anchors": {"rgba_video"},
    "mask_folder": {"hypernerf"},
}
PAIRS = [(name, family) for name in VALUES for family in TINY]


def flag(name: str) -> list[str]:
    value = VALUES[name]
    return [f"--{name}", *(value if isinstance(value, list) else [value])]


def refused(*argv: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_train_args(["-s", "x", *argv])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_settings_of_the_families_are_these():
    fields = {k: {f.name for f in dataclasses.fields(params_of(k))} for k in families()}
    assert {name for names in fields.values() for name in names} == set(VALUES)
    assert {n: {k for k, names in fields.items() if n in names} for n in VALUES} == HAVING


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_a_setting_is_taken_where_it_has_a_use_and_refused_elsewhere(name, family, tmp_path):
    if family in HAVING[name]:
        settings = parse_train_args(["-s", "x", "--dataset", family, *flag(name)])
        assert getattr(settings.data, name) != getattr(params_of(family)(), name)
        return
    reason = (
        f"{name} has no use for {family}; families that have it: {', '.join(sorted(HAVING[name]))}"
    )
    assert refused("--dataset", family, *flag(name)) == f"command line: {reason}"
    config = tmp_path / "my.py"
    value = getattr(parse_train_args(["-s", "x", *flag(name)]).data, name)
    config.write_text(f"dataset = {family!r}\nModelParams = dict({name}={value!r})\n")
    assert refused("--configs", str(config)) == f"{config}: {reason}"


def test_the_short_flag_of_another_family_is_refused_by_its_name():
    assert "images has no use for dnerf" in refused("--dataset", "dnerf", "-i", "rgb")
    assert "fixed_head has no use for dnerf" in refused("--dataset", "dnerf", "--no-fixed_head")


def test_a_config_may_say_what_holds_anyway(tmp_path):
    config = tmp_path / "my.py"  # the files of 4DGS list every setting
    config.write_text("ModelParams = dict(images='images', extension='.png', llffhold=8)\n")
    parse_train_args(["-s", "x", "--dataset", "hypernerf", "--configs", str(config)])


def test_a_family_without_parsings_has_no_part_head():
    assert "part is 'head', expected one of all, person" in refused(
        "--dataset", "nerface", "--part", "head"
    )


@pytest.mark.parametrize("section", ["DataParams", "ModelParams", "OptimizationParams"])
def test_a_key_counts_in_its_own_section_and_in_any_other(section, tmp_path):
    config = tmp_path / "my.py"
    config.write_text(f"dataset = 'ub4d'\n{section} = dict(hold_out=0.25)\n")
    assert parse_train_args(["-s", "x", "--configs", str(config)]).data.hold_out == 0.25


@pytest.mark.parametrize("family", TINY)
def test_auto_finds_the_family_of_a_folder_and_says_so_once(family, tmp_path, capsys):
    TINY[family](tmp_path)
    settings = parse_train_args(["-s", str(tmp_path)])
    assert settings.dataset == family
    assert type(settings.data) is params_of(family)
    load_scene(settings.dataset, settings.model, settings.data)
    printed = capsys.readouterr().out
    assert printed.count(f"{tmp_path}: read as {family} (") == printed.count("read as") == 1
    save_settings(settings, tmp_path / "config.json")
    assert json.loads((tmp_path / "config.json").read_text())["dataset"] == family


def test_auto_refuses_what_has_no_use_for_the_folder(tmp_path):
    TINY["dnerf"](tmp_path)
    with pytest.raises(InputError, match="hold_out has no use for dnerf; families that have it"):
        parse_train_args(["-s", str(tmp_path), "--hold_out", "0.2"])


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_without_a_folder_that_says_its_family_all_settings_are_taken(content, tmp_path):
    folder = tmp_path / "scene"
    if content:
        folder.mkdir()
        (folder / content).write_text("hello")
    argv = ["-s", str(folder), *(word for name in VALUES for word in flag(name))]
    settings = parse_train_args(argv)
    assert (settings.dataset, settings.data.llffhold, settings.data.plate) == ("auto", 4, True)
    message = "no family of datasets recognised" if content else "there is no such folder"
    with pytest.raises(InputError, match=message):
        load_scene(settings.dataset, settings.model, settings.data)


def stored_before(folder, dataset: str, path, **changes):
    """config.json as runs wrote it when the settings of all families were in ModelParams."""
    settings = parse_train_args(["-s", str(path), "-m", str(folder), "--dataset", dataset])
    save_settings(settings, folder / "config.json")
    content = json.loads((folder / "config.json").read_text())
    del content["DataParams"]
    old = {"extension": ".png", "images": "images", "llffhold": 8, "part": "person", "plate": False}
    old |= {"hold_out": 0.0, "test_videos": [], "mouth_box": [], "fixed_head": False}
    content["ModelParams"] |= old | {"head_model": ""} | changes
    content["dataset"] = dataset
    (folder / "config.json").write_text(json.dumps(content))
    return folder / "config.json"


def test_a_run_of_an_older_version_keeps_what_applies_and_drops_the_rest(tmp_path):
    file = stored_before(tmp_path, "nerface", "x", part="all", plate=True, fixed_head=True)
    for settings in (load_settings(file), parse_render_args(["-m", str(tmp_path)])[0]):
        assert (settings.data.part, settings.data.plate) == ("all", True)
        assert not hasattr(settings.data, "fixed_head")


def test_a_run_that_stored_auto_goes_on_under_the_same_command(tmp_path):
    scene = tmp_path / "scene"
    scene.mkdir()
    TINY["ub4d"](scene)
    file = stored_before(tmp_path, "auto", scene, hold_out=0.25, plate=True)
    same = parse_train_args(["-s", str(scene), "-m", str(tmp_path), "--hold_out", "0.25"])
    assert differences(load_settings(file), same) == []
    other = parse_train_args(["-s", str(scene), "-m", str(tmp_path)])
    assert differences(load_settings(file), other) == ["hold_out"]


def test_a_stored_auto_loads_where_the_data_has_moved_away(tmp_path):
    settings = load_settings(stored_before(tmp_path, "auto", "gone", hold_out=0.25))
    assert (settings.dataset, settings.data.hold_out) == ("auto", 0.25)


def test_a_folder_of_another_family_is_read_by_its_defaults(tmp_path):
    TINY["nerfblendshape"](tmp_path)
    settings = parse_train_args(["-s", "x", "--dataset", "nerface", "--part", "all"])
    params = dataclasses.replace(settings.model, source_path=str(tmp_path))
    assert load_scene("auto", params, settings.data).train[0].mask is not None
    own = params_of("nerfblendshape")(part="all")
    assert load_scene("auto", params, own).train[0].mask is None
