"""The one record behind all layouts: who, what is performed, and where everything then is.

Metres; the camera stands still, the head moves. A moment belongs to a split: "train" and "test" are
the monologue, whose end is held out; "driving" is the sequence to drive an avatar with. "beyond"
goes farther than both, in a record of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scene.head.landmarks import dynamic_landmarks
from scene.head.model import HeadModel, pose_head
from scripts.demo.talking_head import torso
from scripts.demo.talking_head.looks import GAMMA, LABELS, Looks
from scripts.demo.talking_head.mesh import Array, visible
from scripts.demo.talking_head.performance import Performance, beyond, driving, monologue

IDENTITY_SPREAD = 0.7  # standard deviation of the shape coefficients
DISTANCE, FOCAL = 1.0, 3.0  # metres; in widths of the picture: IMavatar's numbers
HELD_OUT = 0.2  # of the monologue, at its end
SAMPLES = 2  # per pixel along each side
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # between OpenCV's camera axes and OpenGL's
NECK = 1  # the joint that carries the head
BATCH = 50  # moments posed at once


@dataclass(frozen=True)
class Record:
    """T moments of one head before one camera; float64."""

    model: HeadModel
    shape: Array  # (S,)
    rest: Array  # (V, 3) the person, at rest
    split: tuple[str, ...]  # of every moment
    expression: Array  # (T, E)
    flame_pose: Array  # (T, 15)
    vertices: Array  # (T, V, 3)
    head_to_world: Array  # (T, 4, 4) the motion of the neck joint from rest
    landmarks: Array  # (T, 70, 3)
    viewmat: Array  # (4, 4) world to camera, OpenCV axes
    K: Array  # (3, 3) pixels
    size: int  # width and height, pixels
    body_to_world: Array | None = None  # (T, 4, 4) the motion of a torso from rest, if there is one

    def looks(self) -> Looks:
        """How the person looks, in the rest shape."""
        head = Looks.of(self.model, self.rest)
        return head if self.body_to_world is None else head.with_torso()

    def shown(self, k: int) -> Array:
        """(V, 3) the vertices of `looks` at moment k."""
        if self.body_to_world is None:
            return self.vertices[k]
        moved = self.body_to_world[k]
        body = torso.mesh()[0] @ moved[:3, :3].T + moved[:3, 3]
        return np.concatenate((self.vertices[k], body))

    def moments(self, *splits: str) -> list[int]:
        """The moments of these splits, in order."""
        return [k for k, split in enumerate(self.split) if split in splits]

    @property
    def camera_to_world(self) -> Array:
        """(4, 4), OpenGL axes."""
        return np.linalg.inv(self.viewmat) @ OPENGL

    def camera_to_head(self, k: int) -> Array:
        """(4, 4), OpenGL axes: where the camera is in the rest head's own frame."""
        return np.linalg.inv(self.head_to_world[k]) @ self.camera_to_world

    def landmark_pixels(self, k: int) -> Array:
        """The landmarks (70, 2) in pixels."""
        seen = (self.landmarks[k] @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]) @ self.K.T
        return seen[:, :2] / seen[:, 2:]


def make_record(
    model: HeadModel,
    frames: int,
    driving_frames: int,
    size: int,
    seed: int,
    *,
    with_torso: bool = False,
) -> Record:
    """A person of the model's, performing `frames` of monologue and `driving_frames` of driving."""
    names = model.expression_names
    spoken, driven = monologue(names, frames, seed), driving(names, driving_frames, seed)
    n_test = round(HELD_OUT * frames)
    split = ("train",) * (frames - n_test) + ("test",) * n_test + ("driving",) * driving_frames
    return _record(model, [spoken, driven], split, size, seed, with_torso)


def make_beyond(
    model: HeadModel, frames: int, size: int, seed: int, *, with_torso: bool = False
) -> Record:
    """The same person before the same camera, going beyond what the others show."""
    farther = beyond(model.expression_names, frames, seed)
    return _record(model, [farther], ("beyond",) * frames, size, seed, with_torso)


def _record(
    model: HeadModel,
    parts: list[Performance],
    split: tuple[str, ...],
    size: int,
    seed: int,
    with_torso: bool,
) -> Record:
    model = model.to("cpu", torch.float64)
    rng = np.random.default_rng([seed, 2])
    shape = rng.normal(0, IDENTITY_SPREAD, model.shape_basis.shape[-1])
    expression = np.concatenate([part.expression for part in parts])
    flame_pose = np.concatenate([part.flame_pose for part in parts])
    person = model.personal(torch.from_numpy(shape))
    posed = [
        pose_head(person, torch.from_numpy(pose), expression=torch.from_numpy(values))
        for pose, values in zip(_batches(flame_pose), _batches(expression), strict=True)
    ]
    vertices = torch.cat([part.vertices for part in posed])
    marks = dynamic_landmarks(model, vertices, torch.from_numpy(flame_pose))
    viewmat = OPENGL.copy()
    viewmat[2, 3] = DISTANCE
    K = np.array([[FOCAL * size, 0, size / 2], [0, FOCAL * size, size / 2], [0, 0, 1]])
    head = torch.cat([part.transforms[:, NECK] for part in posed])
    body = torso.motion(flame_pose, np.random.default_rng([seed, 4])) if with_torso else None
    return Record(model, shape, person.template.numpy(), split, expression, flame_pose,
                  vertices.numpy(), head.numpy(), marks.numpy(), viewmat, K, size,
                  body)  # fmt: skip


def _batches(table: Array) -> list[Array]:
    return [table[start : start + BATCH] for start in range(0, len(table), BATCH)]


@dataclass(frozen=True)
class Picture:
    """One moment drawn; display colours."""

    rgb: np.ndarray  # (H, W, 3) uint8, straight: not mixed with the background, white outside
    alpha: np.ndarray  # (H, W) uint8
    labels: np.ndarray  # (H, W) uint8, values of LABELS

    @property
    def on_white(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        alpha = self.alpha[..., None] / 255
        return np.floor(alpha * self.rgb + (1 - alpha) * 255 + 0.5).astype(np.uint8)


def draw(looks: Looks, vertices: Array, viewmat: Array, K: Array, size: int) -> Picture:
    """The person with `vertices` (V, 3) as the camera sees it, box-filtered over every pixel."""
    side = SAMPLES * size
    hits = visible(vertices, looks.faces, viewmat, np.diag([SAMPLES, SAMPLES, 1]) @ K, side)
    colors, labels = np.zeros((side * side, 4)), np.zeros(side * side, np.uint8)
    shown = np.clip(looks.shade(hits, vertices, viewmat), 0, 1) ** (1 / GAMMA)
    colors[hits.samples] = np.concatenate((shown, np.ones((len(shown), 1))), 1)
    labels[hits.samples] = looks.parts(hits)
    pixels = colors.reshape(size, SAMPLES, size, SAMPLES, 4).mean((1, 3))
    alpha = pixels[..., 3]
    rgb = np.where(alpha[..., None] > 0, pixels[..., :3] / np.maximum(alpha, 1e-9)[..., None], 1)
    return Picture(
        _levels(rgb), _levels(alpha), _most(labels.reshape(size, SAMPLES, size, SAMPLES))
    )


def _most(labels: np.ndarray) -> np.ndarray:
    """The label that most of each pixel's samples (H, s, W, s) have; of equals the lowest."""
    height, _, width, _ = labels.shape
    kinds = max(LABELS.values()) + 1
    pixels = np.arange(height * width).reshape(height, 1, width, 1)
    counts = np.bincount((kinds * pixels + labels).ravel(), minlength=height * width * kinds)
    return counts.reshape(height, width, kinds).argmax(2).astype(np.uint8)


def _levels(values: Array) -> np.ndarray:
    return np.floor(values * 255 + 0.5).astype(np.uint8)
