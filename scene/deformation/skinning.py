"""Points that move with a head model: blendshapes, pose correctives and skinning weights at any
point of canonical space (MonoGaussianAvatar, Chen et al. 2024; the head model is FLAME's layout).

Canonical space is the head at rest with an open jaw and the mean expression, in the units of the
world. Bone 0 is the ghost, which never moves; bones 1 to 5 are the head model's joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from fused_fields import encode, mix_bases, offset_mlp, skin
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from scene.head.model import JOINTS, HeadModel, joint_transforms, pose_feature
from utils.rotations import axis_angle_to_matrices, matrices_to_quats, rigid_inverse

PARENTS = (-1, 0, 1, 1, 1)  # of FLAME's joints
NECK, N_BONES = 1, 1 + len(JOINTS)
N_CORRECTIVES = 9 * (len(JOINTS) - 1)
SHARPNESS = 20.0  # of the softmax over bones, as published
SMOOTH = 100.0  # of the softplus, as published
FAINT = 1e-4  # weight that a bone may grow from where the head model gives it none
DEAD = 1e-3  # of the most lively coefficient's spread, under which one never varies
BLOCK = 16  # points whose numbers fill whole vectors


class Rig(nn.Module):
    """The joints of one person's head model, which follow the expression: all that posing asks of
    the model, so that a trained avatar needs no model file."""

    def __init__(self, n_expressions: int, model: HeadModel | None) -> None:
        """`model` is the person's, in world units; None where a saved state brings the joints.

        Raises ValueError for a model of another kinematic tree.
        """
        super().__init__()
        joints, basis = torch.zeros(5, 3), torch.zeros(5, 3, n_expressions)
        if model is not None:
            if model.parents != PARENTS:
                raise ValueError(f"joints hang on {model.parents}, expected {PARENTS}")
            regressor, known = model.joint_regressor, model.expression_basis[..., :n_expressions]
            joints = regressor @ model.template
            basis[..., : known.shape[-1]] = torch.einsum("jv,vce->jce", regressor, known)
        self.register_buffer("joints", joints)
        self.register_buffer("joint_basis", basis)

    def forward(self, flame_pose: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Rest-to-posed transforms (5, 4, 4) of a pose (15,), and its feature (36,)."""
        rotations = axis_angle_to_matrices(flame_pose.reshape(len(JOINTS), 3))
        joints = self.joints + self.joint_basis @ expression
        return joint_transforms(rotations, joints, PARENTS)[0], pose_feature(rotations)

    def bones(
        self, flame_pose: Tensor, expression: Tensor, head_to_world: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Bones (6, 4, 4) and blend coefficients (E + 36,) of a frame.

        The pose says how the head stands to the body, `head_to_world` (4, 4) where it stands in the
        world; None: the world is the head.
        """
        transforms, feature = self(flame_pose, expression)
        base = rigid_inverse(transforms[NECK])
        if head_to_world is not None:
            base = head_to_world @ base
        return bones_in_world(transforms, base), torch.cat([expression, feature])

    def canonical_bones(self, flame_pose: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the canonical state, where the body stands as the head model has it."""
        transforms, feature = self(flame_pose, expression)
        still = torch.eye(4, dtype=feature.dtype, device=feature.device)
        return bones_in_world(transforms, still), torch.cat([expression, feature])


def bones_in_world(transforms: Tensor, base: Tensor) -> Tensor:
    """(6, 4, 4): ghost and joints, from the head's rest to the world; `base` (4, 4) is where the
    world has what the pose does not move."""
    return torch.cat([base[None], base @ transforms])


def bone_turns(bones: Tensor, canonical: Tensor) -> Tensor:
    """Quaternions (6, 4) of how bones (6, 4, 4) turn from the canonical ones what hangs on each
    alone; all on one half of the sphere, so that their blend is close to the turn within a blended
    motion."""
    quats = matrices_to_quats(bones[:, :3, :3] @ canonical[:, :3, :3].mT)
    return torch.where((quats @ quats[1 + NECK])[:, None] < 0, -1.0, 1.0) * quats


def posed(
    places: Tensor, blend: Tensor, weights: Tensor, quats: Tensor, bones: Tensor, canonical: Tensor
) -> tuple[Tensor, Tensor]:
    """Canonical places (N, 3) and quaternions (N, 4) in the world: un-posed by the canonical bones
    (6, 4, 4), moved by blendshapes, then posed by `bones` (6, 4, 4).

    `blend` (N, 3) is what blendshapes and correctives add at rest, less what they add in the
    canonical state; there the result are the canonical points.
    """
    turns = bone_turns(bones, canonical)
    return skin(places, blend, weights, quats, bones[:, :3], turns, canonical[:, :3])


@dataclass(frozen=True)
class Bases:
    """What N points have of a head model's; blend and pose bases side by side."""

    blend: Tensor  # (N, 3, E + 36) world units
    skin: Tensor  # (N, 6) weights of ghost and joints; rows sum to 1
    gate: Tensor  # (N, 1) in [0, 1]: how far the head model binds the point

    @classmethod
    def none(cls, n_expressions: int) -> Bases:
        """Of no points."""
        blend = torch.zeros(0, 3, n_expressions + N_CORRECTIVES)
        return cls(blend, torch.zeros(0, N_BONES), torch.zeros(0, 1))


class BlendTable:
    """Bases of points that are only drawn, in float16, as `mix_bases` reads them in order: what
    `BLOCK` points have of one coefficient side by side."""

    def __init__(self, bases: Tensor, unit: float) -> None:
        """`bases` (N, 3, K) are some tenths of `unit` in size, both in world units."""
        self.count, self.unit = len(bases), unit
        padded = nn.functional.pad(bases / unit, (0, 0, 0, 0, 0, -len(bases) % BLOCK))
        self.blocks = padded.reshape(-1, 3 * BLOCK, bases.shape[-1]).mT.half().contiguous()

    def __call__(self, coefficients: Tensor) -> Tensor:
        """What coefficients (K,) add to each point, (N, 3) world units."""
        weights = (self.unit * coefficients)[:, None].expand(-1, 3 * BLOCK)
        return mix_bases(self.blocks, weights).reshape(-1, 3)[: self.count]


def distance(found: Bases, wanted: Bases, spread: Tensor, unit: float) -> Tensor:
    """How far points are from the head model, as published, each as far as it is bound.

    Expressions count by their `spread` (E,) in training; one that never varies says nothing.
    """
    gate, n = wanted.gate, len(spread)
    known = spread > DEAD * spread.max()
    inverse = torch.where(known, 1 / torch.where(known, spread, 1).square(), 0)
    offset = (10 / unit * (found.blend - wanted.blend)).square() * gate[..., None]
    skin = gate * (found.skin - wanted.skin).square()
    face, pose = offset[..., :n] * inverse, offset[..., n:]
    return 0.1 * _mean(skin) + 10 * _mean(face) / n + 10 * _mean(pose)


def _mean(values: Tensor) -> Tensor:
    """By rows first: PyTorch splits one long sum among as many threads as there are."""
    return values.flatten(1).mean(1).mean()


class SkinField(nn.Module):
    """The place of a point says its expression basis, pose basis, skinning weights and canonical
    offset, by itself or in addition to what a head model says there.

    All of these start at zero, the weights evenly. A frame needs only products of the bases with
    its coefficients: they are taken with the last layer's weights, not with every point's numbers.
    """

    def __init__(
        self,
        n_expressions: int,
        unit: float,
        *,
        width: int,
        depth: int,
        octaves: int,
        smooth: bool,
    ) -> None:
        """`unit`: a head's size in world units. `smooth`: weight-normalised layers and softplus, as
        published; otherwise plain ones and ReLU, in one kernel."""
        super().__init__()
        self.unit, self.octaves, self.smooth = unit, octaves, smooth
        sizes = [3 + 6 * octaves] + [width] * depth
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        hidden = nn.Linear(width, width if smooth else 2 * width)
        for layer in (*layers, hidden):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out" if smooth else "fan_in")
            nn.init.zeros_(layer.bias)
        self.trunk = nn.ModuleList(map(weight_norm, layers) if smooth else layers)
        self.hidden = weight_norm(hidden) if smooth else hidden
        self.blend = nn.Linear(width, 3 * (n_expressions + N_CORRECTIVES + 1))
        self.skin = nn.Linear(width, N_BONES)
        for layer in (self.blend, self.skin):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, points: Tensor, coefficients: Tensor, known: Bases | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Canonical points (N, 3) and a frame's coefficients (E + 36,) to their blend (N, 3),
        weights (N, 6), both in addition to what is `known`, and canonical offset (N, 3)."""
        parts = []
        for table in (self.blend.weight, self.blend.bias[:, None]):
            bases, offset = table.split([3 * len(coefficients), 3])
            product = torch.einsum("cew,e->cw", bases.unflatten(0, (3, -1)), coefficients)
            parts.append(torch.cat([product, offset]))
        found, weights = self._outputs(points, parts[0], parts[1][:, 0], known)
        blend, offset = found.split(3, dim=1)
        if known is not None:
            # A product a point: one of all has a gradient that PyTorch splits by threads.
            each = coefficients[:, None].expand(len(points), -1, 1)
            blend = blend + torch.bmm(known.blend, each)[..., 0]
        return blend, weights, offset

    def whole(self, points: Tensor, known: Bases | None) -> tuple[Bases, Tensor]:
        """All bases, in addition to what is `known`, and canonical offset (N, 3)."""
        found, weights = self._outputs(points, self.blend.weight, self.blend.bias, known)
        blend = found[:, :-3].unflatten(1, (3, -1))
        if known is not None:
            blend = blend + known.blend
        return Bases(blend, weights, points.new_ones(len(points), 1)), found[:, -3:]

    def _outputs(
        self, points: Tensor, weight: Tensor, bias: Tensor, known: Bases | None
    ) -> tuple[Tensor, Tensor]:
        """Everything linear (N, ...) in world units, and the weights."""
        features = encode(points / self.unit, self.octaves)
        if self.smooth:
            for layer in self.trunk:
                features = nn.functional.softplus(layer(features), SMOOTH)
            logits = self.skin(nn.functional.softplus(self.hidden(features), SMOOTH))
            blend = nn.functional.linear(features, weight, bias)
        else:
            layers = [(layer.weight, layer.bias) for layer in (*self.trunk, self.hidden)]
            heads = [(weight, bias), (self.skin.weight, self.skin.bias)]
            blend, logits = offset_mlp(features, layers[:-1], layers[-1], heads)
        logits = SHARPNESS * logits
        if known is not None:
            logits = logits + (known.skin + FAINT).log()
        return self.unit * blend, logits.softmax(-1)
