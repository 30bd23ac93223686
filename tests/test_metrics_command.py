"""metrics.py on model folders as render.py leaves them."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

import metrics
from scene.parts import as_picture
from scoring.perceptual import TRUNKS, WEIGHTS_VARIABLE, Lpips

FAMILY_KEYS = {"SSIM", "PSNR", "LPIPS-vgg", "LPIPS-alex", "MS-SSIM", "D-SSIM"}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr("scoring.perceptual.DEFAULT_WEIGHTS", tmp_path / "nowhere.safetensors")


def write_views(model: Path, split: str, *, count: int, size=(48, 40), method="ours_30") -> None:
    """`count` views of random blocks on white, and renders that are off by a known amount."""
    rng = np.random.default_rng(count)
    width, height = size
    for k in range(count):
        truth = np.full((height, width, 3), 255, np.uint8)
        truth[5:30, 8:30] = rng.integers(20, 200, (25, 22, 3))
        render = truth.copy()
        render[5:30, 8:30] += np.uint8(10 + k)
        for part, image in (("gt", truth), ("renders", render)):
            folder = model / split / method / part
            folder.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / f"{k:05d}.png"), image)


def run(monkeypatch, *arguments) -> None:
    argv = ["metrics.py", "--quiet", "--device", "cpu", *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", argv)
    metrics.main()


def fails(monkeypatch, capsys, *arguments) -> str:
    """The one line of an expected failure."""
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def load(path: Path) -> dict:
    return json.loads(path.read_text())


def test_scores_are_the_known_differences(tmp_path, monkeypatch):
    write_views(tmp_path, "test", count=2)
    run(monkeypatch, "-m", tmp_path)
    result, views = (load(tmp_path / name)["ours_30"] for name in ("results.json", "per_view.json"))
    for k in (0, 1):
        squared = (10 + k) ** 2 / 255**2
        whole = -10 * np.log10(squared * (25 * 22) / (48 * 40))
        assert views["PSNR"][f"{k:05d}.png"] == pytest.approx(whole, abs=1e-4)
        assert views["fg-PSNR"][f"{k:05d}.png"] == pytest.approx(-10 * np.log10(squared), abs=1e-4)
    for name in ("PSNR", "fg-PSNR", "SSIM"):
        assert result[name] == pytest.approx(np.mean(list(views[name].values())), abs=1e-9)


def test_results_have_the_family_s_keys_and_the_protocol(tmp_path, monkeypatch, capsys):
    write_views(tmp_path, "test", count=3)
    (tmp_path / "config.json").write_text('{"ModelParams": {"white_background": true}}')
    run(monkeypatch, "--model_path", tmp_path)
    result = load(tmp_path / "results.json")["ours_30"]
    assert result.keys() > FAMILY_KEYS
    protocol = result["protocol"]
    expected = {"split": "test", "views": 3, "resolution": ["48x40"], "iteration": 30}
    assert expected.items() <= protocol.items()
    assert protocol["background"] == "white"
    assert protocol["metrics"].keys() == result.keys() - {"protocol"}
    assert load(tmp_path / "per_view.json")["ours_30"].keys() == result.keys() - {"protocol"}
    assert "PSNR" in capsys.readouterr().out


def test_missing_numbers_are_null_with_a_reason(tmp_path, monkeypatch, capsys):
    write_views(tmp_path, "test", count=1)
    run(monkeypatch, "-m", tmp_path)
    result = load(tmp_path / "results.json")["ours_30"]
    assert all(result[name] is None for name in ("LPIPS-vgg", "LPIPS-alex", "MS-SSIM", "D-SSIM"))
    small, weights = result["protocol"]["notes"]
    assert small.startswith("MS-SSIM, D-SSIM: no number for 1 of 1 views: needs images")
    assert "python scripts/get_lpips_weights.py" in weights
    assert weights in capsys.readouterr().out


def test_a_perfect_view_is_left_out_of_the_mean_and_said_so(tmp_path, monkeypatch):
    write_views(tmp_path, "test", count=2)
    folder = tmp_path / "test" / "ours_30"
    (folder / "renders" / "00000.png").write_bytes((folder / "gt" / "00000.png").read_bytes())
    run(monkeypatch, "-m", tmp_path)
    result, views = (load(tmp_path / name)["ours_30"] for name in ("results.json", "per_view.json"))
    assert views["PSNR"]["00000.png"] is None
    assert result["PSNR"] == views["PSNR"]["00001.png"]
    assert result["protocol"]["notes"][0].startswith("PSNR: no number for 1 of 2 views: infinite")


@pytest.mark.long
def test_lpips_is_scored_in_both_forms_from_a_weights_file(tmp_path, monkeypatch):
    write_views(tmp_path, "test", count=1)
    tensors = {}
    for net in TRUNKS:
        lpips = Lpips(net)
        for head in lpips.heads:
            head.fill_(1.0)
        tensors |= {f"{net}.{name}": tensor for name, tensor in lpips.state_dict().items()}
    weights = tmp_path / "lpips.safetensors"
    save_file(tensors, weights)
    run(monkeypatch, "-m", tmp_path, "--lpips_weights", weights)
    result = load(tmp_path / "results.json")["ours_30"]
    for net in TRUNKS:
        assert result[f"LPIPS-{net}"] > 0
        assert result[f"LPIPS-{net}-rescaled"] not in (None, result[f"LPIPS-{net}"])
    run(monkeypatch, "-m", tmp_path, "--lpips_weights", weights, "--skip_lpips")
    assert load(tmp_path / "results.json")["ours_30"]["LPIPS-vgg"] is None


def test_other_splits_and_methods_are_kept_apart(tmp_path, monkeypatch):
    for split, method in (("test", "ours_7"), ("test", "ours_30"), ("val", "ours_30")):
        write_views(tmp_path, split, count=2, method=method)
    (tmp_path / "video" / "ours_30" / "renders").mkdir(parents=True)
    run(monkeypatch, "-m", tmp_path)
    assert load(tmp_path / "results.json").keys() == {"ours_7", "ours_30"}
    assert load(tmp_path / "results_val.json")["ours_30"]["protocol"]["split"] == "val"
    assert not (tmp_path / "results_train.json").exists()


def test_several_models_are_scored_at_once(tmp_path, monkeypatch):
    models = [tmp_path / name for name in "ab"]
    for model in models:
        write_views(model, "test", count=1)
    run(monkeypatch, "--model_paths", *models)
    assert all((model / "results.json").is_file() for model in models)


def test_a_missing_model_or_missing_renders_are_named(tmp_path, monkeypatch, capsys):
    assert "gone: no such folder" in fails(monkeypatch, capsys, "-m", tmp_path / "gone")
    line = fails(monkeypatch, capsys, "-m", tmp_path)
    assert f"run python render.py --model_path {tmp_path} first" in line


def test_a_render_without_ground_truth_is_named(tmp_path, monkeypatch, capsys):
    write_views(tmp_path, "test", count=3)
    (tmp_path / "test" / "ours_30" / "gt" / "00001.png").unlink()
    line = fails(monkeypatch, capsys, "-m", tmp_path)
    assert "gt: 00001.png is missing; found 3 renders and 2 ground-truth images" in line


def test_a_size_that_differs_is_named(tmp_path, monkeypatch, capsys):
    write_views(tmp_path, "test", count=2)
    cv2.imwrite(str(tmp_path / "test/ours_30/renders/00001.png"), np.zeros((40, 50, 3), np.uint8))
    line = fails(monkeypatch, capsys, "-m", tmp_path)
    assert "00001.png: 3 channels of 50x40 pixels, its ground truth 3 of 48x40" in line


def test_a_cut_image_stops_before_anything_is_written(tmp_path, monkeypatch, capfd):
    good, bad = tmp_path / "good", tmp_path / "bad"
    write_views(good, "test", count=1)
    write_views(bad, "test", count=2)
    cut = bad / "test" / "ours_30" / "renders" / "00001.png"
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "-m", good, bad)
    assert stop.value.code == 2
    assert "00001.png" in capfd.readouterr().err.strip().splitlines()[-1]
    assert (good / "results.json").is_file()
    assert not list(bad.glob("*.json"))


def test_a_weights_file_that_is_not_there_is_an_error(tmp_path, monkeypatch, capsys):
    write_views(tmp_path, "test", count=1)
    named = ("--lpips_weights", tmp_path / "no.safetensors")
    line = fails(monkeypatch, capsys, "-m", tmp_path, *named)
    assert "no.safetensors: no such LPIPS weights file" in line
    assert not list(tmp_path.glob("*.json"))


def test_a_region_is_scored_where_its_rectangle_says(tmp_path, monkeypatch):
    """The views differ by 10 + k levels in 25 of 40 rows and 22 of 48 columns, see
    `write_views`."""
    write_views(tmp_path, "test", count=2)
    folder = tmp_path / "test" / "ours_30"
    image, truth = (cv2.imread(str(folder / part / "00000.png")) for part in ("renders", "gt"))
    rows, columns = np.nonzero((image != truth).any(2))
    inside = [int(n) for n in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
    (folder / "regions.json").write_text(
        json.dumps({"00000.png": {"mouth": inside}, "00001.png": {}})
    )
    run(monkeypatch, "-m", tmp_path)
    result, views = (load(tmp_path / name)["ours_30"] for name in ("results.json", "per_view.json"))
    assert views["PSNR-mouth"]["00000.png"] == pytest.approx(-20 * np.log10(10 / 255), abs=1e-4)
    assert views["PSNR-mouth"]["00001.png"] is None
    assert result["PSNR-mouth"] == views["PSNR-mouth"]["00000.png"]


def test_head_and_torso_are_scored_where_the_picture_of_parts_says(tmp_path, monkeypatch):
    """The first view is off by 10 levels in its rows 5 to 29 and columns 8 to 29, see
    `write_views`."""
    write_views(tmp_path, "test", count=2)
    parts = np.zeros((40, 48), np.uint8)
    parts[5:15, 8:30], parts[15:35, 8:30] = 1, 2  # a quarter of the torso is off by nothing
    path = tmp_path / "test" / "ours_30" / "parts" / "00000.png"
    path.parent.mkdir()
    assert cv2.imwrite(str(path), as_picture(parts))
    run(monkeypatch, "-m", tmp_path)
    views = load(tmp_path / "per_view.json")["ours_30"]
    head = -20 * np.log10(10 / 255)
    assert views["PSNR-head"]["00000.png"] == pytest.approx(head, abs=1e-4)
    torso = head - 10 * np.log10(15 / 20)
    assert views["PSNR-torso"]["00000.png"] == pytest.approx(torso, abs=1e-4)
    assert views["PSNR-head"]["00001.png"] is None  # nobody says what it shows


def test_a_picture_of_parts_of_another_size_is_named(tmp_path, monkeypatch, capsys):
    write_views(tmp_path, "test", count=1)
    path = tmp_path / "test" / "ours_30" / "parts" / "00000.png"
    path.parent.mkdir()
    assert cv2.imwrite(str(path), np.zeros((20, 24, 3), np.uint8))
    line = fails(monkeypatch, capsys, "-m", tmp_path)
    assert "parts/00000.png: it has 24x20 pixels, its view 48x40" in line


def test_the_protocol_says_which_part_is_shown_and_what_was_fitted(tmp_path, monkeypatch, capsys):
    for split in ("test", "reenactment_fitted"):
        write_views(tmp_path, split, count=1)
    (tmp_path / "config.json").write_text('{"DataParams": {"part": "head"}}')
    run(monkeypatch, "-m", tmp_path)
    plain, fitted = (
        load(tmp_path / f"results{suffix}.json")["ours_30"]["protocol"]
        for suffix in ("", "_reenactment_fitted")
    )
    assert (plain["part"], plain["fitted"]) == ("head", None)
    assert fitted["fitted"] == "expression, head pose and body motion"
    first, second = capsys.readouterr().out.split("not to be compared with others")
    assert "reenactment_fitted" not in first.split("reenactment_fitted/ours")[0]
    assert "reenactment_fitted" in second


@pytest.mark.parametrize(
    "content", ["[1]", '{"00000.png": {"mouth": [4, 4, 2, 8]}}', '{"00000.png": 3}']
)
def test_a_broken_regions_file_is_named(tmp_path, monkeypatch, capsys, content):
    write_views(tmp_path, "test", count=1)
    (tmp_path / "test" / "ours_30" / "regions.json").write_text(content)
    assert "regions.json: cannot be read as an object" in fails(monkeypatch, capsys, "-m", tmp_path)
