"""compare.py on a head of a few pixels: two methods, one table, one video; again, and as jobs."""

import json
import runpy
import sys
from pathlib import Path

import imageio.v2 as iio
import numpy as np
import pytest

from scoring.views_file import VIEWS, ViewsFile, read_views
from scripts import compare
from scripts.comparison.results import write_table
from scripts.comparison.runs import MEASURES, Run, plan, views
from tests.methods import ROOT
from tests.tiny_scene import SIZE, write_tiny_head, write_tiny_scene
from utils.errors import InputError
from utils.files import write_json
from utils.images import CAPTION_HEIGHT, GUTTER

SHORT = ["--", "--iterations", "12", "--init_points", "60", "--dataset", "nerfblendshape"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A scene and two config files."""
    folder = tmp_path_factory.mktemp("compare")
    write_tiny_head(folder / "head")
    (folder / "own").mkdir()
    (folder / "own/four.py").write_text(
        "method = 'fourdgs'\nOptimizationParams = dict(coarse_iterations=3)\n"
        "ModelHiddenParams = dict(expression_input=True, time_input=False, multires=[1])\n"
    )
    (folder / "own/head.py").write_text(
        "method = 'gaussianhead'\nOptimizationParams = dict(warm_up=3, lambda_vgg=0.0)\n"
        "ModelHiddenParams = dict(deform_width=16)\n"
    )
    return folder


def called(run, command, *flags):
    """One of the project's commands, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [command, *flags])
        for name in ("stdout", "stderr"):  # which the commands replace
            patch.setattr(sys, name, getattr(sys, name))
        runpy.run_path(str(ROOT / command), run_name="__main__")
    if command == "render.py":
        write_views(views(run))


def write_views(folder):
    """Let the video have 12 frames a second, and drawing have taken a known time."""
    file, old = folder / VIEWS, folder / "regions.json"
    if file.is_file():
        content = json.loads(file.read_text())
    else:
        names = sorted(path.name for path in (folder / "renders").glob("*.png"))
        regions = json.loads(old.read_text())
        content = {"views": [{"name": name, "regions": regions[name]} for name in names]}
    timing = {"posed_and_drawn_fps": 123.4, "drawn_fps": 200.1}
    write_json(file, {**content, "fps": 12.0, "timing": timing})


def command(workplace, monkeypatch, *more):
    configs = [str(workplace / f"own/{name}.py") for name in ("four", "head")]
    argv = [
        "compare.py",
        "-s",
        str(workplace / "head"),
        "--configs",
        *configs,
        "-o",
        str(workplace / "out"),
    ]
    monkeypatch.setattr(sys, "argv", [*argv, *more, *SHORT])
    compare.main()


@pytest.fixture(scope="module")
def compared(workplace):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("scripts.comparison.runs._call", called)
        command(workplace, monkeypatch)
    return workplace / "out"


@pytest.mark.long
def test_the_table_has_a_row_for_each_config_with_scores_and_costs(compared):
    head, _, *rows = (compared / "table.md").read_text().splitlines()
    for name in ("PSNR", "SSIM", "PSNR-mouth", "MiB", "training s", "render FPS", "Gaussians"):
        assert f"| {name} |" in head
    assert [row.split(" | ")[1] for row in rows] == ["own-four", "own-head"]
    assert all("| - |" not in row for row in rows)
    entries = json.loads((compared / "results.json").read_text())
    assert [entry["seed"] for entry in entries] == [0, 0]
    assert [entry["render FPS"] for entry in entries] == [123.4, 123.4]
    assert all(entry["flags"] == SHORT[1:] and entry["training s"] > 0 for entry in entries)


@pytest.mark.long
def test_the_video_shows_the_test_frames_of_all_side_by_side(compared):
    frames = iio.mimread(compared / "head.mp4")
    assert len(frames) == 3
    assert frames[0].shape[1] >= 3 * SIZE
    assert iio.get_reader(compared / "head.mp4").get_meta_data()["fps"] == 12


@pytest.mark.long
def test_the_picture_shows_frames_and_below_each_its_mouth(compared):
    picture = iio.imread(compared / "head.png").astype(float)
    run = next(compared.glob("head/own-head/seed_0/test/*"))
    for k, (name, parts) in enumerate(read_views(run).regions.items()):
        left, top, right, bottom = parts["mouth"]
        truth = iio.imread(run / "gt" / name)[top:bottom, left:right].mean((0, 1))
        high = round(SIZE * (bottom - top) / (right - left))
        y = CAPTION_HEIGHT + (2 * k + 1) * (max(SIZE, high) + GUTTER)
        shown = picture[y : y + high, GUTTER : GUTTER + SIZE].mean((0, 1))
        assert abs(shown - truth).max() < 2


@pytest.mark.long
def test_the_same_command_again_trains_and_renders_nothing(
    workplace, compared, monkeypatch, capsys
):
    files = sorted(
        (*compared.rglob(MEASURES), *compared.rglob("*.safetensors"), *compared.rglob("0*.png"))
    )
    before = [file.stat().st_mtime_ns for file in files]
    monkeypatch.setattr("scripts.comparison.runs._call", called)
    command(workplace, monkeypatch)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert (compared / "table.md").read_text() in capsys.readouterr().out


@pytest.mark.long
def test_jobs_of_submitit_give_the_same_table(workplace, compared, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    before = (compared / "table.md").read_text()
    (compared / "table.md").unlink()
    command(workplace, monkeypatch, "--cluster", "local", "--minutes", "5")
    assert (compared / "table.md").read_text() == before
    assert len(list((compared / "jobs").glob("*_result.pkl"))) == 2


@pytest.mark.long
def test_a_command_that_fails_is_told_by_its_own_last_line(
    workplace, tmp_path, monkeypatch, capsys
):
    (workplace / "own/bad.py").write_text(
        "method = 'gaussianhead'\nOptimizationParams = dict(warm_upp=3)\n"
    )
    flags = ["-s", workplace / "head", "--configs", workplace / "own/bad.py", "-o", tmp_path]
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, flags)])
    with pytest.raises(SystemExit) as caught:
        compare.main()
    assert caught.value.code == 2
    assert "seed_0: train.py failed" in (said := capsys.readouterr().err)
    assert "did you mean 'warm_up'?" in said


def test_seeds_are_averaged_with_their_deviation(tmp_path):
    runs = []
    for seed, psnr in enumerate((20.0, 21.0, 22.0)):
        run = Run(Path("/data/head"), Path("/own/four.py"), seed, tmp_path / f"{seed}")
        run.folder.mkdir()
        write_json(run.folder / MEASURES, {"PSNR": psnr, "SSIM": None, "Gaussians": 10})
        runs.append(run)
    assert write_table(tmp_path, runs).splitlines() == [
        "| scene | config | seeds | PSNR | Gaussians |",
        "| --- | --- | --- | --- | --- |",
        "| head | own-four | 3 | 21.00 ± 1.00 | 10 ± 0 |",
    ]


def test_held_out_scenes_have_their_own_table_and_both_have_means(tmp_path):
    numbers = {  # PSNR and val PSNR of seeds 0 and 1
        "a": ((20.0, 30.0), (22.0, 34.0)),
        "b": ((30.0, 32.0), (30.0, 34.0)),
        "mean": ((40.0, None), (42.0, None)),
    }
    runs = []
    for scene, seeds in numbers.items():
        for seed, (psnr, val) in enumerate(seeds):
            folder = tmp_path / f"{scene}{seed}"
            folder.mkdir()
            write_json(folder / MEASURES, {"PSNR": psnr, "val PSNR": val, "MiB": 2})
            runs.append(Run(Path("/data") / scene, Path("/own/four.py"), seed, folder))
    head = ["", "| scene | config | seeds | PSNR | val PSNR | MiB |"]
    head.append("| --- | --- | --- | --- | --- | --- |")
    assert write_table(tmp_path, runs, {Path("/data/mean")}).splitlines() == [
        "chosen on",
        *head,
        "| a | own-four | 2 | 21.00 ± 1.41 | 32.00 ± 2.83 | 2.0 ± 0.0 |",
        "| b | own-four | 2 | 30.00 ± 0.00 | 33.00 ± 1.41 | 2.0 ± 0.0 |",
        "| mean | own-four | 2 | 25.50 ± 0.71 | 32.50 ± 2.12 | 2.0 ± 0.0 |",
        "",
        "held out",
        *head,
        "| mean | own-four | 2 | 41.00 ± 1.41 | - | 2.0 ± 0.0 |",
        "| mean | own-four | 2 | 41.00 ± 1.41 | - | 2.0 ± 0.0 |",
    ]
    entries = json.loads((tmp_path / "results.json").read_text())
    said = [(entry["group"], entry["scene"], entry["seed"], entry["PSNR"]) for entry in entries]
    assert said == [
        ("chosen on", "/data/a", 0, 20.0),
        ("chosen on", "/data/a", 1, 22.0),
        ("chosen on", "/data/b", 0, 30.0),
        ("chosen on", "/data/b", 1, 30.0),
        ("chosen on", "mean", 0, 25.0),
        ("chosen on", "mean", 1, 26.0),
        ("held out", "/data/mean", 0, 40.0),
        ("held out", "/data/mean", 1, 42.0),
        ("held out", "mean", 0, 40.0),
        ("held out", "mean", 1, 42.0),
    ]


def test_a_mean_leaves_out_what_one_of_its_scenes_has_no_number_for(tmp_path):
    runs = []
    for scene, val in (("a", 30.0), ("b", None), ("c", 31.0)):
        (tmp_path / scene).mkdir()
        write_json(tmp_path / scene / MEASURES, {"PSNR": 20.0, "val PSNR": val})
        runs.append(Run(Path("/data") / scene, Path("/own/four.py"), 0, tmp_path / scene))
    lines = write_table(tmp_path, runs, {Path("/data/c")}).splitlines()
    assert lines[6] == "| mean | own-four | 1 | 20.00 | - |"
    assert lines[-1] == "| mean | own-four | 1 | 20.00 | 31.00 |"


def test_two_scenes_are_scored_on_test_and_on_val(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scripts.comparison.runs._call", called)
    for name in ("a", "b"):
        write_tiny_scene(tmp_path / name)
    config = tmp_path / "short.py"
    config.write_text(
        "method = 'fourdgs'\nOptimizationParams = dict(coarse_iterations=3, iterations=6)\n"
        "ModelHiddenParams = dict(multires=[1])\n"
    )
    flags = ["-s", tmp_path / "a", tmp_path / "b", "--held_out", "b", "--configs", config]
    more = ["-o", tmp_path / "out", "--", "--init_points", "60", "--dataset", "dnerf"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, (*flags, *more))])
    compare.main()
    table = (tmp_path / "out/table.md").read_text()
    assert table in capsys.readouterr().out
    rows = [line.split(" | ")[0] for line in table.splitlines() if "-short |" in line]
    assert rows == ["| a", "| mean", "| b", "| mean"]
    for entry in json.loads((tmp_path / "out/results.json").read_text()):
        if entry["scene"] == "mean":
            continue
        (run,) = (tmp_path / "out" / Path(entry["scene"]).name).glob("*/seed_0")
        for split, column in (("test", "PSNR"), ("val", "val PSNR")):
            assert entry[column] == pytest.approx(psnr(next(run.glob(f"{split}/ours_*"))), abs=1e-3)
        assert entry["PSNR"] != entry["val PSNR"]


def psnr(folder):
    """Mean over the pictures of a split, by the formula."""
    values = []
    for file in (folder / "renders").glob("*.png"):
        a, b = (iio.imread(folder / part / file.name) / 255.0 for part in ("renders", "gt"))
        values.append(-10 * np.log10(((a - b) ** 2).mean()))
    return np.mean(values)


def test_a_held_out_scene_must_be_one_of_the_scenes(tmp_path, monkeypatch, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "four.py").write_text("")
    flags = ["-s", tmp_path / "a", "--held_out", "b", "--configs", tmp_path / "four.py", "-o"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, (*flags, tmp_path / "out"))])
    with pytest.raises(SystemExit) as caught:
        compare.main()
    assert caught.value.code == 2
    assert f"--held_out b: not one of the scenes of -s: {tmp_path / 'a'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_views_say_their_fps_and_regions(tmp_path):
    entry = {"name": "00000.png", "picture": None, "moment": 3, "time": 0.25, "camera": {}}
    timing = {"posed_and_drawn_fps": 123.4, "drawn_fps": 200.1}
    seen = {**entry, "regions": {"mouth": [1, 2, 4, 8]}}
    content = {"fps": 30, "timing": timing, "views": [seen]}
    write_json(tmp_path / VIEWS, content)
    assert read_views(tmp_path) == ViewsFile(30.0, timing, {"00000.png": {"mouth": (1, 2, 4, 8)}})
    for broken in (
        {**content, "fps": "fast"},
        {**content, "timing": {}},
        {**content, "views": [entry]},
        {**content, "views": [{**entry, "regions": {"mouth": [4, 2, 1, 8]}}]},
        [],
    ):
        write_json(tmp_path / VIEWS, broken)
        with pytest.raises(InputError, match=r"views\.json: cannot be read as .*run render\.py"):
            read_views(tmp_path)


def test_views_of_an_earlier_version_say_their_regions_alone(tmp_path):
    assert read_views(tmp_path) == ViewsFile()
    write_json(tmp_path / "regions.json", {"00000.png": {"mouth": [1, 2, 4, 8]}})
    assert read_views(tmp_path) == ViewsFile(regions={"00000.png": {"mouth": (1, 2, 4, 8)}})


def test_two_runs_never_share_a_folder(tmp_path):
    scenes = [tmp_path / "a/head", tmp_path / "b/head"]
    with pytest.raises(InputError, match="two runs would be written there"):
        plan(scenes, [Path("own/four.py")], 1, tmp_path / "out", ())


def test_runs_that_show_other_parts_of_a_person_are_in_other_tables(tmp_path):
    runs = []
    for config, part, psnr in (("a", "person", 20.0), ("b", "head", 30.0), ("c", "person", 21.0)):
        (tmp_path / config).mkdir()
        write_json(tmp_path / config / MEASURES, {"PSNR": psnr, "part": part})
        scene, file = Path("/data/head"), Path(f"/own/{config}.py")
        runs.append(Run(scene, file, 0, tmp_path / config))
    head = ["", "| scene | config | seeds | PSNR |", "| --- | --- | --- | --- |"]
    assert write_table(tmp_path, runs).splitlines() == [
        "part=person",
        *head,
        "| head | own-a | 1 | 20.00 |",
        "| head | own-c | 1 | 21.00 |",
        "",
        "part=head",
        *head,
        "| head | own-b | 1 | 30.00 |",
    ]
    entries = json.loads((tmp_path / "results.json").read_text())
    assert [(entry["PSNR"], entry["part"]) for entry in entries] == [
        (20.0, "person"),
        (21.0, "person"),
        (30.0, "head"),
    ]
