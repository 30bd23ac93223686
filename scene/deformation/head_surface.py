"""A person's head model in canonical space: points to start from, and what the model says at any
point, less and less of it away from the skin."""

from __future__ import annotations

import torch
from torch import Tensor

from scene.deformation.skinning import N_BONES, N_CORRECTIVES, NECK, Bases
from scene.head.model import HeadModel, pose_head
from scene.head.points import nearest_surface, nearest_vertex, on_surface, point_bases
from utils.random import generator

# Quarter metres from the skin, in the published unit: up to the first a point is skin, from the
# second on it is hair or cloth, which has no expression.
SKIN, APART = 0.1, 0.2
LOOSE = 6  # every so many starting points, one about the head, for hair and shoulders
ABOUT = 0.25  # of the head's size that the box of these reaches beyond it
GREY = 0.5


class HeadSurface:
    """The head with canonical expression and pose."""

    def __init__(
        self, model: HeadModel, expression: Tensor, flame_pose: Tensor, unit: float
    ) -> None:
        """`model` is the person's, in world units; `expression` (E,), `flame_pose` (15,); `unit` is
        a quarter metre in world units."""
        known = min(len(expression), model.expression_basis.shape[-1])
        self.model, self.n_expressions, self.unit = model, len(expression), unit
        posed = pose_head(model, flame_pose, expression=expression[:known])
        self.vertices, self.floor = posed.vertices, float(posed.joints[NECK, 1])

    def start(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """`count` points (N, 3) on the skin and a few about it, and their colours (N, 3)."""
        source = generator(seed, "points of a head")
        loose = count // LOOSE
        skin = on_surface(self.vertices, self.model.faces, count - loose, source)
        colors = self.model.colors
        rgb = torch.full((count, 3), GREY)
        if colors is not None:
            rgb[: count - loose] = skin.interpolate(colors)
        low, high = self.vertices.amin(0), self.vertices.amax(0)
        pad = ABOUT * (high - low)
        about = torch.lerp(low - pad, high + pad, torch.rand(loose, 3, generator=source))
        return torch.cat([skin.interpolate(self.vertices), about]), rgb

    def bases(self, points: Tensor, *, by_vertex: bool = False) -> Bases:
        """The model at canonical points (N, 3).

        parity: `by_vertex` takes the nearest vertex at any distance, so that hair and cloth move
        with the skin below them.
        """
        device, points = points.device, points.cpu()
        if by_vertex:
            near = nearest_vertex(points, self.vertices)
        else:
            near = nearest_surface(points, self.vertices, self.model.faces)
        found = point_bases(self.model, near)
        away = ((near.distance / self.unit - SKIN) / (APART - SKIN)).clamp(0, 1)[:, None]
        gate = torch.ones_like(away) if by_vertex else 1 - away
        blend = points.new_zeros(len(points), 3, self.n_expressions + N_CORRECTIVES)
        known = min(self.n_expressions, found.expression_basis.shape[-1])
        blend[..., :known] = found.expression_basis[..., :known]
        blend[..., self.n_expressions :] = found.pose_basis
        skin = torch.cat([torch.zeros_like(gate), found.skin_weights], 1)
        # What hangs on no skin goes with the head, and below the neck with nothing.
        free = points.new_zeros(len(points), N_BONES)
        below = points[:, 1] < self.floor
        free[:, 0], free[:, 1 + NECK] = below.float(), (~below).float()
        found = (gate[..., None] * blend, torch.lerp(free, skin, gate), gate)
        return Bases(*(column.to(device) for column in found))
