"""Tie the landmark net's 468 points to a head model: draw it, and see where the net finds them.

Every render knows which triangle each pixel shows, so a point that the net finds says where on the
head it is. Over many renders a point has a mean place, and slides with the direction that the head
is seen from; both are kept. Works for any head model with region masks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from capture.nets import FaceNets
from capture.table import N_SLIDES, PointTable, features, lid_opening, table_file
from scene.head.files import FREE_HEAD, load_head_model
from scene.head.model import HeadModel, pose_head
from scene.head.points import nearest_surface
from scripts.demo.talking_head.looks import Looks
from scripts.demo.talking_head.mesh import visible
from scripts.demo.talking_head.record import DISTANCE, FOCAL, OPENGL, SAMPLES, draw
from utils.errors import InputError, run_command

SIZE = 320  # pixels of a render
RENDERS = 80
SPREAD = 0.7  # standard deviation of the renders' identities
YAW, PITCH, ROLL, JAW = 40.0, 22.0, 8.0, 0.25  # degrees, radians: the most of a render
# What the points may lie on is the outer skin, not these regions of a head model.
INSIDE = (
    "left_eyeball",
    "right_eyeball",
    "upper_teeth",
    "lower_teeth",
    "teeth",
    "tongue",
    "mouth_interior",
    "eye_sockets",
    "boundary",
    "scalp",
)
REACH = 8.0  # pixels of a render: how far from a point skin is looked for
RIDGE = 0.3  # renders that say a point does not slide
ROUNDS = 4  # of reweighting
OUTLIER = 0.004  # metres


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--head_model", type=Path, default=FREE_HEAD, help="file of the head model")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--force", action="store_true", help="draw again although it is there")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(
        lambda: tied(
            load_head_model(args.head_model), FaceNets(), workers=args.workers, force=args.force
        ),
        debug=args.debug,
    )


def tied(model: HeadModel, nets: FaceNets, *, workers: int = 1, force: bool = False) -> PointTable:
    """The table of a head model, from its file, or drawn now and kept there."""
    file = table_file(model, nets.fingerprint)
    if file.is_file() and not force:
        return PointTable.read(file)
    print(f"drawing {RENDERS} heads to tie the 468 points to this head model: once, a minute")
    table = _table(model, _seen_all(model, nets.folder, workers))
    table.write(file)
    return table


def _seen_all(model: HeadModel, nets: Path, workers: int) -> list[dict[str, np.ndarray]]:
    jobs = range(RENDERS)
    if workers <= 1:
        _start(model, nets)
        found = [_seen(k) for k in jobs]
    else:
        context = multiprocessing.get_context("spawn")
        with context.Pool(workers, _start, (model, nets)) as pool:
            found = pool.map(_seen, jobs, chunksize=2)
    found = [view for view in found if view]
    if len(found) < RENDERS / 2:
        raise InputError(
            f"the landmark net finds a face in {len(found)} of {RENDERS} renders of this head "
            "model; it needs region masks or colours: use the free head"
        )
    return found


_job: tuple[HeadModel, FaceNets]  # of this process


def _start(model: HeadModel, nets: Path) -> None:
    global _job
    torch.set_num_threads(1)
    _job = model.to("cpu", torch.float64), FaceNets(nets)


def _seen(k: int) -> dict[str, np.ndarray]:
    """One render: where on the head each point is seen; {} where the net finds no face."""
    model, nets = _job
    rng = np.random.default_rng([k, 468])
    shape = rng.normal(0, SPREAD, model.shape_basis.shape[-1])
    yaw, pitch, roll = np.radians(rng.uniform(-1, 1, 3) * (YAW, PITCH, ROLL))
    pose, expression = np.zeros(15), np.zeros(model.expression_basis.shape[-1])
    pose[3:6] = pitch, yaw, roll
    pose[6] = JAW * rng.choice([0.0, 0.0, 0.5, 1.0])
    blink = float(rng.choice([0.0, 0.0, 0.0, 0.5, 1.0]))
    names = model.expression_names
    expression[[i for i, name in enumerate(names) if name.startswith("eyeBlink")]] = blink
    person = model.personal(torch.from_numpy(shape))
    posed = pose_head(person, torch.from_numpy(pose), expression=torch.from_numpy(expression))
    viewmat, vertices = OPENGL.copy(), posed.vertices.numpy()
    viewmat[2, 3] = DISTANCE
    K = np.array([[FOCAL * SIZE, 0, SIZE / 2], [0, FOCAL * SIZE, SIZE / 2], [0, 0, 1]])
    picture = draw(Looks.of(model, person.template.numpy()), vertices, viewmat, K, SIZE).on_white
    boxes = nets.faces(picture)
    if not boxes:
        return {}
    points, _ = nets.points(picture, boxes[0].crop())
    lids, _ = nets.eyes(picture, points)
    view = vertices.mean(0) - [0, 0, DISTANCE]
    neck = posed.transforms[1, :3, :3].numpy()
    triangle, weights, facing, off = _hit(model, vertices, viewmat, K, points[:, :2])
    corners = model.faces.numpy()[triangle]
    rest = np.einsum("nk,nkc->nc", weights, model.template.numpy()[corners])
    return {
        "rest": rest,
        "facing": facing * (off < REACH),
        "seen_from": -view @ neck,
        "blink": np.array(blink),
        "opening": lid_opening(points[None], lids[None])[0],
    }


def _hit(
    model: HeadModel, vertices: np.ndarray, viewmat: np.ndarray, K: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Triangle, weights, cosine to the camera and distance in pixels of the skin at each point."""
    faces, side = model.faces.numpy(), SAMPLES * SIZE
    hits = visible(vertices, faces, viewmat, np.diag([SAMPLES, SAMPLES, 1]) @ K, side)
    inner = np.zeros(len(vertices), bool)
    for name in INSIDE:
        inner[model.masks.get(name, torch.zeros(0, dtype=torch.int64)).numpy()] = True
    skin = ~inner[faces].any(1)[hits.faces] & hits.front
    rows, columns = np.divmod(hits.samples[skin], side)
    places = np.stack((columns + 0.5, rows + 0.5), 1) / SAMPLES
    off, nearest = cKDTree(places).query(points)
    kept = np.flatnonzero(skin)[nearest]
    triangle = hits.faces[kept]
    a, b, c = (vertices[faces[triangle, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    toward = np.linalg.inv(viewmat)[:3, 3] - a
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    return triangle, hits.weights[kept], (normal * toward).sum(1), off


def _table(model: HeadModel, views: list[dict[str, np.ndarray]]) -> PointTable:
    rest = np.stack([view["rest"] for view in views])  # (R, 468, 3)
    weight = np.clip(np.stack([view["facing"] for view in views]), 0, None) ** 2
    seen_from = torch.from_numpy(np.stack([view["seen_from"] for view in views]))
    mirror = _mirrored(np.median(rest, 0))
    # Each render in the mirror is another one: the table is as symmetric as the head.
    flip = np.array([-1.0, 1.0, 1.0])
    rest = np.concatenate((rest, rest[:, mirror] * flip))
    weight = np.concatenate((weight, weight[:, mirror]))
    known = torch.cat((features(seen_from), features(seen_from * torch.from_numpy(flip)))).numpy()
    design = np.concatenate((np.ones((len(known), 1)), known), 1)
    solved, spread = _regressed(design, rest, weight)
    model = model.to("cpu", torch.float32)
    place = torch.from_numpy(solved[:, 0]).float()
    skin = ~torch.isin(model.faces, _inner(model)).any(1)
    tie = nearest_surface(place, model.template, model.faces[skin])
    opening = np.concatenate([view["opening"] for view in views])
    blink = np.repeat(np.array([view["blink"] for view in views]), 2)
    openings = [float(np.median(opening[blink == shut])) for shut in (0, 0.5, 1)]
    return PointTable(
        vertices=tie.vertices,
        weights=tie.weights,
        offset=place - tie.interpolate(model.template),
        slides=torch.from_numpy(solved[:, 1:]).float().mT.contiguous(),
        spread=torch.from_numpy(spread).float(),
        openings=torch.tensor(openings),
    )


def _inner(model: HeadModel) -> torch.Tensor:
    none = torch.zeros(0, dtype=torch.int64)
    return torch.cat([model.masks.get(name, none) for name in INSIDE])


def _mirrored(points: np.ndarray) -> np.ndarray:
    """For each point the one on the other side."""
    distance = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=-1)
    return linear_sum_assignment(distance + distance.T)[1]


def _regressed(
    design: np.ndarray, rest: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (468, 1 + N_SLIDES, 3) by reweighted ridge regression, and the spread (468,)."""
    solved = np.zeros((rest.shape[1], 1 + N_SLIDES, 3))
    spread = np.zeros(rest.shape[1])
    ridge = np.diag([1e-6, *[RIDGE] * N_SLIDES])
    for k in range(rest.shape[1]):
        robust = np.ones(len(rest))
        for _ in range(ROUNDS):
            w = weight[:, k] * robust
            left = design.T @ (w[:, None] * design) + ridge
            solved[k] = np.linalg.solve(left, design.T @ (w[:, None] * rest[:, k]))
            off = np.linalg.norm(rest[:, k] - design @ solved[k], axis=1)
            robust = 1 / (1 + (off / OUTLIER) ** 2)
        spread[k] = np.sqrt((w * off**2).sum() / max(w.sum(), 1e-9))
    return solved, spread


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
