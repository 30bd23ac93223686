"""Refine the head's pose in every frame by the pictures themselves.

Landmarks are off by a pixel or two, another way in every frame; skin is not. Vertices of the fitted
mesh that move with the skull see a grey level, freed of light by its local mean and spread; over
all frames each vertex has a mean one. Every frame is then moved, six numbers, until its levels are
those means (direct alignment, Gauss-Newton), held near the pose that the landmarks say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch

from capture.fit import FLIP, NECK, Fit
from scene.head.model import HeadModel, pose_head
from utils.images import Pixels

ROUNDS = 8
BLUR = 0.02  # of the picture's width: what counts as light
RIGID = 0.97  # weight of the neck joint
# Regions that move by themselves, or that show hair.
LOOSE = (
    "lips",
    "left_eye_region",
    "right_eye_region",
    "left_eyeball",
    "right_eyeball",
    "eye_sockets",
    "mouth_interior",
    "upper_teeth",
    "lower_teeth",
    "teeth",
    "tongue",
    "scalp",
    "neck",
    "boundary",
)
FACING = 0.35  # cosine to the camera of the least that is used
SPREAD = 0.5  # of levels: how far they count as alike
ANCHOR = 0.3  # times the number of vertices: how much one pixel of landmark motion weighs
MOST = 0.06  # radians, and metres: beyond it the pictures mislead


def refine(
    fit: Fit, model: HeadModel, picture: Callable[[int], Pixels], size: int, rounds: int = ROUNDS
) -> Fit:
    """The same fit with better poses; `picture(row)` is the square of a frame."""
    person = model.personal(fit.shape)
    kept = _rigid(person)
    light = [_levels(picture(row)) for row in range(len(fit.pose))]
    posed = [
        pose_head(person, pose, expression=expression)
        for pose, expression in zip(fit.pose, fit.expression, strict=True)
    ]
    flip, shift = FLIP.double().numpy(), fit.shift.double().numpy()
    # In the camera's axes: places and normals of the vertices, and where the neck joint is.
    places = [
        p.vertices.double().numpy()[kept] * flip + s for p, s in zip(posed, shift, strict=True)
    ]
    facing = [
        _facing(p.vertices.numpy(), s, person)[kept]
        for p, s in zip(posed, shift * flip, strict=True)
    ]
    joint = [p.joints[1].double().numpy() * flip + s for p, s in zip(posed, shift, strict=True)]
    turns = [np.eye(3) for _ in places]
    moves = [np.zeros(3) for _ in places]
    focal = fit.focal.numpy()
    for _ in range(rounds):
        seen = [
            _moved(x, a, turn, move)
            for x, a, turn, move in zip(places, joint, turns, moves, strict=True)
        ]
        samples = [_sample(g, x, f, size) for g, x, f in zip(light, seen, focal, strict=True)]
        levels = np.stack([s[0] for s in samples])
        weight = np.clip(np.stack(facing) - FACING, 0, None)
        mean = (weight * levels).sum(0) / np.maximum(weight.sum(0), 1e-9)
        for k, (level, slope, at) in enumerate(samples):
            turns[k], moves[k] = _step(
                level - mean,
                slope,
                at,
                seen[k],
                joint[k] + moves[k],
                weight[k],
                focal[k],
                turns[k],
                moves[k],
            )
    return _with(fit, posed, turns, moves)


def _rigid(person: HeadModel) -> np.ndarray:
    """(V,) which vertices move with the skull and are seen."""
    kept = (person.skin_weights[:, 1] > RIGID).numpy()
    for name in LOOSE:
        kept[person.masks.get(name, torch.zeros(0, dtype=torch.int64)).numpy()] = False
    return kept


def _levels(picture: Pixels) -> np.ndarray:
    """(H, W, 3): grey levels freed of light, and their slopes to the right and down."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    grey = cv2.GaussianBlur(grey, (0, 0), 1.0)
    sigma = BLUR * len(grey)
    flat = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
    spread = np.sqrt(cv2.GaussianBlur(flat * flat, (0, 0), 2 * sigma)) + 0.01
    flat = flat / spread
    kernel = {"ddepth": cv2.CV_32F, "ksize": 3, "scale": 1 / 8}
    return np.stack(
        (flat, cv2.Sobel(flat, dx=1, dy=0, **kernel), cv2.Sobel(flat, dx=0, dy=1, **kernel)), -1
    )


def _facing(vertices: np.ndarray, shift: np.ndarray, person: HeadModel) -> np.ndarray:
    """(V,) cosine of each vertex's normal to the camera; the head's own axes."""
    faces = person.faces.numpy()
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.repeat(np.cross(b - a, c - a), 3, 0)
    total = np.stack([np.bincount(faces.ravel(), normal[:, i], len(vertices)) for i in range(3)], 1)
    toward = -(vertices + shift)
    lengths = np.linalg.norm(total, axis=1) * np.linalg.norm(toward, axis=1)
    return (total * toward).sum(1) / np.maximum(lengths, 1e-12)


def _moved(places: np.ndarray, joint: np.ndarray, turn: np.ndarray, move: np.ndarray) -> np.ndarray:
    return (places - joint) @ turn.T + joint + move


def _sample(
    light: np.ndarray, places: np.ndarray, focal: float, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels (N,), slopes (N, 2) and pixels (N, 2) of places in the camera's axes."""
    at = (focal * places[:, :2] / places[:, 2:] + size / 2).astype(np.float32)
    x, y = at[:, :1] - 0.5, at[:, 1:] - 0.5  # OpenCV: centres at integers
    seen = cv2.remap(light, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return seen[:, 0], seen[:, 1:], at


def _step(
    off: np.ndarray,
    slope: np.ndarray,
    at: np.ndarray,
    places: np.ndarray,
    joint: np.ndarray,
    weight: np.ndarray,
    focal: float,
    turn: np.ndarray,
    move: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One Gauss-Newton step of a frame's turn and move."""
    x, y, z = places.T
    along = np.zeros((len(places), 2, 3))  # pixels per metre
    along[:, 0, 0] = along[:, 1, 1] = focal / z
    along[:, 0, 2], along[:, 1, 2] = -focal * x / z**2, -focal * y / z**2
    arm = places - joint
    cross = np.zeros((len(places), 3, 3))  # of w x arm by w
    cross[:, 0, 1], cross[:, 0, 2] = arm[:, 2], -arm[:, 1]
    cross[:, 1, 0], cross[:, 1, 2] = -arm[:, 2], arm[:, 0]
    cross[:, 2, 0], cross[:, 2, 1] = arm[:, 1], -arm[:, 0]
    pixels = np.concatenate((along @ cross, along), 2)  # (N, 2, 6)
    rows = (slope[:, None] @ pixels)[:, 0]
    robust = weight / (1 + (off / SPREAD) ** 2)
    normal = (rows * robust[:, None]).T @ rows
    right = -(rows * robust[:, None]).T @ off
    # Held where the landmarks have it: the pixels by which the vertices moved from there.
    known = np.concatenate((cv2.Rodrigues(turn)[0][:, 0], move))
    hold = np.einsum("nki,nkj->ij", pixels * weight[:, None, None], pixels)
    hold *= ANCHOR * float(np.median(np.abs(slope))) ** 2
    normal += hold + 1e-9 * np.eye(6)
    right -= hold @ known
    step = np.linalg.solve(normal, right)
    new_turn, new_move = cv2.Rodrigues(step[:3])[0] @ turn, move + step[3:]
    far = np.linalg.norm(cv2.Rodrigues(new_turn)[0]) > MOST or np.linalg.norm(new_move) > MOST
    return (turn, move) if far else (new_turn, new_move)


def _with(fit: Fit, posed: list, turns: list[np.ndarray], moves: list[np.ndarray]) -> Fit:
    flip = np.diag(FLIP.double().numpy())
    pose, shift = fit.pose.clone(), fit.shift.clone()
    for k, (turn, move) in enumerate(zip(turns, moves, strict=True)):
        old = cv2.Rodrigues(pose[k, NECK : NECK + 3].double().numpy())[0]
        new = flip @ turn @ flip @ old
        pose[k, NECK : NECK + 3] = torch.from_numpy(cv2.Rodrigues(new)[0][:, 0])
        # The neck joint itself only moves: the head turns about it.
        shift[k] += torch.from_numpy(move).float()
    return replace(fit, pose=pose, shift=shift)
