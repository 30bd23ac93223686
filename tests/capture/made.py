"""Faces that nobody has: points as the nets would find them, made of numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from capture.find import Found
from capture.fit import FLIP, directions
from capture.table import PointHead, PointTable, features
from scene.head.points import on_surface
from scripts.demo.toy_head import toy_head


def made(count=300, width=640, height=480, side=180.0, fps=25.0):
    """A face that is well seen in every frame, moves a little and speaks."""
    rng = np.random.default_rng(0)
    rest = rng.uniform(-0.5, 0.5, (468, 3))
    for row, (x, y) in {33: (-0.3, -0.15), 133: (-0.1, -0.15), 362: (0.1, -0.15),
                        263: (0.3, -0.15), 61: (-0.15, 0.25), 291: (0.15, 0.25),
                        13: (0, 0.24), 14: (0, 0.26)}.items():  # fmt: skip
        rest[row] = x, y, 0
    t = np.arange(count)
    points = np.repeat(rest[None], count, 0)
    points[:, 14, 1] += 0.05 * (1 + np.sin(t))
    yaw = np.radians(20 * np.sin(t / 20))
    turned = points.copy()
    turned[..., 0] = np.cos(yaw)[:, None] * points[..., 0] + np.sin(yaw)[:, None] * points[..., 2]
    turned[..., 2] = np.cos(yaw)[:, None] * points[..., 2] - np.sin(yaw)[:, None] * points[..., 0]
    turned = turned * side + (width / 2, height / 2, 0)
    lids = np.zeros((count, 2, 16, 2))
    lids[:, :, 8, 0] = 60.0  # corners at rows 0 and 8
    for upper in (11, 12, 13):
        lids[:, :, upper, 1] = -20.0
    palms = np.full(count, np.nan)
    palms[::8] = 0.1
    people = np.full(count, -1)
    people[::25] = 1
    return Found(
        times=t / fps, points=turned.astype(np.float32), lids=lids.astype(np.float32),
        irises=np.zeros((count, 2, 5, 2), np.float32), presence=np.ones(count), people=people,
        palms=palms, upside=np.full(count, -0.2), luma=np.full(count, 120.0),
        change=np.full(count, 0.7),
        size=np.array([width, height]), last=np.zeros((1, 64, 64)),
    )  # fmt: skip


def toy_table():
    """The toy head, and 468 points strewn over its front that slide a little."""
    model = toy_head()
    source = torch.Generator().manual_seed(0)
    skin = (model.template[model.faces][..., 2] > 0.03).all(1)
    tie = on_surface(model.template, model.faces[skin], 468, source)
    return model, PointTable(
        tie.vertices, tie.weights, torch.zeros(468, 3),
        0.01 * torch.randn(468, 3, 5, generator=source), torch.full((468,), 2e-3),
        torch.tensor([0.4, 0.3, 0.15]),
    )  # fmt: skip


def performed(count, focal, size, slides=1.0):
    """Pose, shift and pixels (T, 470, 2) of a toy head that turns and speaks; its points slide by
    so much of what the table says."""
    head = PointHead.of(*toy_table())
    head = replace(head, slides=slides * head.slides)
    t = torch.linspace(0, 6.3, count)
    pose = torch.zeros(count, 15)
    pose[:, 3], pose[:, 4], pose[:, 5] = 0.15 * t.cos(), 0.35 * t.sin(), 0.05 * (2 * t).sin()
    pose[:, 6] = 0.12 * (1 - (3 * t).cos())
    shift = torch.tensor([0.01, 0.02, 0.9]) + 0.02 * torch.stack((t.sin(), t.cos(), t.sin()), 1)
    expression = torch.zeros(count, head.expression_basis.shape[-1])
    seen = features(directions(pose, shift))
    points, _ = head.posed(pose, torch.zeros(10), expression, None, seen)
    local = points * FLIP + shift[:, None]
    return pose, shift, focal * local[..., :2] / local[..., 2:] + size / 2
