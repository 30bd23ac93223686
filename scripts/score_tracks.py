"""How far tracks are from the truth: python scripts/score_tracks.py -m output/NAME -s DATA

DATA is a folder of scripts/make_demo_data.py with tracks.npz. A point that is true at the first
moment is carried by the opaque Gaussians nearest to it there, as these move and turn; the distance
to where it truly is, mean over points and moments, is given in percent of the scene's size.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from arguments import parse_model_args
from arguments.settings import Settings, ViewParams
from scene.gaussian_model import Gaussians
from scene.methods import MethodBase, open_model
from utils.devices import choose_device
from utils.errors import InputError, run_command
from utils.files import reading, regular
from utils.rotations import compose, quats_to_matrices

TRACKS = "tracks.npz"
N_NEAREST = 8  # Gaussians that carry a point
OPAQUE = 0.3  # as they are at least, where enough are
INVERSE = (1, -1, -1, -1)  # signs of a unit quaternion's


def read_tracks(file: Path) -> tuple[list[float], Tensor]:
    """Times, and points (T, P, 3); InputError where the file is missing or something else."""
    regular(file, remedy="make the data again with scripts/make_demo_data.py")
    with reading(file, "times (T,) and points (T, P, 3)", "make the data again"):
        arrays = np.load(file, allow_pickle=False)
        times, points = arrays["times"], arrays["points"]
        if points.shape[::2] != (len(times), 3):
            raise ValueError(f"found {points.shape}")
    return times.tolist(), torch.from_numpy(points).float()


def carried(points: Tensor, first: Gaussians, now: Gaussians) -> Tensor:
    """(P, 3) where Gaussians take the points that are at (P, 3) when they are posed as `first`."""
    able = first.opacities[:, 0] >= OPAQUE
    if int(able.sum()) < N_NEAREST:
        able = torch.ones_like(able)
    rows = able.nonzero()[:, 0]
    near = torch.cdist(points, first.means[rows]).topk(min(N_NEAREST, len(rows)), largest=False)
    weights = 1 / near.values.clamp(min=1e-6)
    weights = (weights / weights.sum(1, keepdim=True))[:, :, None]
    rows = rows[near.indices]
    signs = first.quats.new_tensor(INVERSE)
    turn = quats_to_matrices(compose(now.quats[rows], first.quats[rows] * signs))
    away = points[:, None] - first.means[rows]
    return (weights * (now.means[rows] + (turn @ away[..., None])[..., 0])).sum(1)


@torch.no_grad()
def track_error(method: MethodBase, frame, times: list[float], truth: Tensor) -> float:
    """Mean distance in percent of the longest side of the box of all true points."""
    posed = [method(method.prepare(replace(frame, time=time))) for time in times]
    found = torch.stack([carried(truth[0], posed[0], now) for now in posed[1:]])
    size = (truth.amax((0, 1)) - truth.amin((0, 1))).amax()
    return float((found - truth[1:]).norm(dim=2).mean() / size * 100)


def score(settings: Settings, iteration: int) -> str:
    """The line to print; InputError where there is no model or no truth."""
    device = choose_device(settings.run.device)
    facts, method = open_model(settings, iteration, device)
    file = Path(settings.model.source_path) / TRACKS
    times, truth = read_tracks(file)
    if not facts.shown:
        raise InputError(f"{settings.model.model_path}: the model knows no moment")
    truth = facts.world.own(truth).float().to(device)
    error = track_error(method, facts.shown[0].to(device), times, truth)
    return f"{settings.model.model_path}: tracks are {error:.2f} % of the scene's size from truth"


def main(argv: list[str] | None = None) -> None:
    """The command line."""

    def run() -> None:
        settings, options = parse_model_args("score_tracks.py", ViewParams, argv)
        print(score(settings, options.iteration))

    run_command(run, debug=False)


if __name__ == "__main__":
    main()
