"""A person's head model in canonical space: points to start from, and what the model says at any
point, less and less of it away from the skin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scene.deformation.skinning import N_BONES, N_CORRECTIVES, NECK, Bases
from scene.head.model import HeadModel, pose_head
from scene.head.points import nearest_surface, nearest_vertex, on_surface
from utils.random import generator

# Quarter metres from the skin, in the published unit: up to the first a point is skin, from the
# second on it is hair or cloth, which has no expression.
SKIN, APART = 0.1, 0.2
LOOSE = 6  # every so many starting points, one about the head, for hair and shoulders
ABOUT = 0.25  # of the head's size that the box of these reaches beyond it
GREY = 0.5


class HeadSurface(nn.Module):
    """The head with canonical expression and pose. It is no part of a saved state: the model
    belongs to whoever gave it."""

    def __init__(
        self, model: HeadModel, expression: Tensor, flame_pose: Tensor, unit: float
    ) -> None:
        """`model` is the person's, in world units; `expression` (E,), `flame_pose` (15,); `unit` is
        a quarter metre in world units."""
        super().__init__()
        count, known = len(expression), min(len(expression), model.expression_basis.shape[-1])
        posed = pose_head(model, flame_pose, expression=expression[:known])
        blend = torch.zeros(len(model.template), 3, count + N_CORRECTIVES)
        blend[..., :known] = model.expression_basis[..., :known]
        blend[..., count:] = model.pose_basis
        ghost = torch.zeros(len(blend), 1)
        colors = torch.full_like(model.template, GREY) if model.colors is None else model.colors
        self.unit, self.floor = unit, float(posed.joints[NECK, 1])
        tensors = {"vertices": posed.vertices, "faces": model.faces, "colors": colors,
                   "blend": blend, "skin": torch.cat([ghost, model.skin_weights], 1)}  # fmt: skip
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def start(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """`count` points (N, 3) on the skin and a few about it, and their colours (N, 3)."""
        source = generator(seed, "points of a head")
        loose = count // LOOSE
        skin = on_surface(self.vertices, self.faces, count - loose, source)
        low, high = self.vertices.amin(0), self.vertices.amax(0)
        pad = ABOUT * (high - low)
        about = torch.lerp(low - pad, high + pad, torch.rand(loose, 3, generator=source))
        grey = torch.full_like(about, GREY)
        points = torch.cat([skin.interpolate(self.vertices), about])
        return points, torch.cat([skin.interpolate(self.colors), grey])

    def bases(self, points: Tensor, *, by_vertex: bool = False, anywhere: bool = False) -> Bases:
        """The model at canonical points (N, 3): of the nearest triangle, or of the nearest vertex.

        parity: `anywhere` takes it at any distance, so that hair and cloth move with the skin below
        them.
        """
        if by_vertex:
            near = nearest_vertex(points, self.vertices)
        else:
            near = nearest_surface(points, self.vertices, self.faces)
        away = ((near.distance / self.unit - SKIN) / (APART - SKIN)).clamp(0, 1)[:, None]
        gate = torch.ones_like(away) if anywhere else 1 - away
        # What hangs on no skin goes with the head, and below the neck with nothing.
        below = (points[:, 1] < self.floor).to(points)
        free = points.new_zeros(len(points), N_BONES)
        free[:, 0], free[:, 1 + NECK] = below, 1 - below
        skin = torch.lerp(free, near.interpolate(self.skin), gate)
        return Bases(gate[..., None] * near.interpolate(self.blend), skin, gate)
