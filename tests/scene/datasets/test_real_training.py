"""A real folder of every family trains: some steps on small pictures, and the loss falls."""

import json
from statistics import fmean

import pytest

from arguments import parse_train_args
from train import train

FOLDERS = {
    "dnerf/lego": "arguments/dnerf/lego.py",
    "dnerf_mujoco/scene9_topology": "arguments/dnerf/default.py",
    "hypernerf/handheld": "arguments/hypernerf/default.py",
    "dynerf/minions": "arguments/dynerf/default.py",
    "rgba_video/blooming_rose": "arguments/rgba_video/default.py",
    "nerfblendshape/obama": "arguments/nerfblendshape/default.py",
    "nerface/obama": "arguments/nerface/default.py",
    "imavatar/obama256": "arguments/imavatar/default.py",
}
SHORT = "-r 8 --coarse_iterations 60 --iterations 100 --batch_size 1 --quiet"
SHORT = SHORT.split()
AVATARS = ("nerfblendshape", "nerface", "imavatar")  # whose default is not 4DGS


@pytest.mark.long
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_real_folder_trains_with_falling_loss(folder, data_folder, tmp_path):
    argv = [
        "-s",
        str(data_folder / folder),
        "--configs",
        FOLDERS[folder],
        "-m",
        str(tmp_path),
        *SHORT,
    ]
    argv += [] if folder.startswith(AVATARS) else ["--multires", "1"]
    argv += ["--track_iterations", "300"] if "scene9" in folder else []
    train(parse_train_args(argv))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    psnr = [row["psnr"] for row in rows if "it_per_s" in row]
    assert fmean(psnr[-5:]) > fmean(psnr[:5]) + 2  # dB; the stages weigh their losses differently
