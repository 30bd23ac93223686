"""A head model of FLAME's layout: blendshapes, five joints, linear blend skinning (Li et al. 2017).

Metres, +y up, the face looks to +z, +x is the character's left. Poses are 15 numbers: axis-angle
(radians) of root, neck, jaw, left eye, right eye. Jaw x > 0 opens the mouth, neck x > 0 nods down,
neck y > 0 turns to the character's left; eyes turn with the same signs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from utils.rotations import axis_angle_to_matrices

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")


@dataclass(frozen=True)
class Landmarks:
    """Points on triangles: iBUG's 68, or 70 with the right and the left iris behind them."""

    faces: Tensor  # (L,) int64, rows of HeadModel.faces
    weights: Tensor  # (L, 3) barycentric
    contour_faces: Tensor | None = None  # (79, 17): the 17 of the jaw line, by head yaw
    contour_weights: Tensor | None = None  # (79, 17, 3)


@dataclass(frozen=True)
class HeadModel:
    """What a model file holds; any vertex count. `pose_head` moves it, flame_files.py reads it."""

    template: Tensor  # (V, 3) metres
    faces: Tensor  # (F, 3) int64, counter-clockwise from outside
    shape_basis: Tensor  # (V, 3, S) metres per unit coefficient
    expression_basis: Tensor  # (V, 3, E)
    pose_basis: Tensor  # (V, 3, 36), for the entries of R - I of neck, jaw and eyes, row by row
    joint_regressor: Tensor  # (5, V)
    skin_weights: Tensor  # (V, 5), rows sum to 1
    parents: tuple[int, ...]  # of each joint, -1 for the root
    landmarks: Landmarks | None = None  # None: the user has no landmark file
    masks: dict[str, Tensor] = field(default_factory=dict)  # vertex ids (M,) by region
    uv: Tensor | None = None  # (T, 2) in [0, 1]; None: no texture layout
    uv_faces: Tensor | None = None  # (F, 3) rows of uv
    colors: Tensor | None = None  # (V, 3) RGB in [0, 1]; None: the model has no colours
    eyelids: Tensor | None = None  # (2, V, 3) metres: left closes, right closes
    expression_names: tuple[str, ...] = ()  # empty: the components have no names
    jaw_open_angle: float | None = None  # jaw x that is a wide open mouth; None: not known
    licence: str = ""

    def map(self, change: Callable[[Tensor], Tensor]) -> HeadModel:
        """The same model with `change` applied to every tensor."""

        def mapped(value: object) -> object:
            if isinstance(value, Tensor):
                return change(value)
            if isinstance(value, Landmarks):
                return Landmarks(*(mapped(getattr(value, f.name)) for f in fields(value)))
            if isinstance(value, dict):
                return {key: mapped(child) for key, child in value.items()}
            return value

        return HeadModel(**{f.name: mapped(getattr(self, f.name)) for f in fields(self)})

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> HeadModel:
        """The model on `device`; floating-point tensors become `dtype`."""
        return self.map(lambda t: t.to(device, dtype if t.is_floating_point() else t.dtype))

    def scaled(self, factor: float) -> HeadModel:
        """The model in units of 1 / factor metres; IMavatar's family works with factor 4."""
        names = ("template", "shape_basis", "expression_basis", "pose_basis", "eyelids")
        lengths = {name: getattr(self, name) for name in names}
        return replace(self, **{n: v * factor for n, v in lengths.items() if v is not None})

    def personal(self, shape: Tensor, static_offset: Tensor | None = None) -> HeadModel:
        """One person's model: `shape` (S,) and `static_offset` (V, 3) join the template."""
        template = self.template + blend(self.shape_basis, shape)
        if static_offset is not None:
            template = template + static_offset
        return replace(self, template=template, shape_basis=self.shape_basis[..., :0])

    def fingerprint(self) -> str:
        """SHA-256 of geometry, bases and rig; tells two models apart without storing either."""
        digest = hashlib.sha256(repr(self.parents).encode())
        for name in ("template", "faces", "shape_basis", "expression_basis", "pose_basis",
                     "joint_regressor", "skin_weights"):  # fmt: skip
            tensor = getattr(self, name).detach().cpu()
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update((tensor + 0).contiguous().numpy().tobytes())  # -0 counts as 0
        return digest.hexdigest()


@dataclass(frozen=True)
class PosedHead:
    """`vertices` = `skin(rest vertices, skin_weights, transforms)`."""

    vertices: Tensor  # (*B, V, 3)
    joints: Tensor  # (*B, 5, 3), posed
    transforms: Tensor  # (*B, 5, 4, 4), rest to posed, translation included
    pose_feature: Tensor  # (*B, 36): R - I of neck, jaw and eyes


def pose_head(
    model: HeadModel,
    flame_pose: Tensor,
    *,
    shape: Tensor | None = None,
    expression: Tensor | None = None,
    translation: Tensor | None = None,
    static_offset: Tensor | None = None,
    eyelids: Tensor | None = None,
) -> PosedHead:
    """Pose the head (FLAME, eq. 2 to 5); differentiable in every argument.

    Args:
        flame_pose: (*B, 15) axis-angle, radians.
        shape: (*B, s), s <= S; the components that are left out are zero. So are those of
            `expression` (*B, e), e <= E.
        translation: (*B, 3) metres, added last.
        static_offset: (*B, V, 3) metres, a person's own vertices; the joints follow it.
        eyelids: (*B, 2) in [0, 1], left and right; the model must have them.

    Raises:
        ValueError: more coefficients than the model has, or eyelids it does not have.
    """
    rest = _shaped(model, shape, expression, static_offset)
    joints = model.joint_regressor @ rest
    rotations = axis_angle_to_matrices(flame_pose.unflatten(-1, (len(JOINTS), 3)))
    feature = pose_feature(rotations)
    rest = rest + blend(model.pose_basis, feature)
    if eyelids is not None:
        if model.eyelids is None:
            raise ValueError("this head model has no eyelid shapes; leave eyelids out")
        # The metrical tracker adds them after skinning, right only while root and neck stay zero.
        rest = rest + torch.tensordot(eyelids, model.eyelids, dims=([-1], [0]))
    transforms, joints = joint_transforms(rotations, joints, model.parents)
    if translation is not None:
        transforms = transforms + _as_column(translation)[..., None, :, :]
        joints = joints + translation[..., None, :]
    vertices = skin(rest, model.skin_weights, transforms)
    return PosedHead(vertices, joints, transforms, feature)


def _shaped(
    model: HeadModel,
    shape: Tensor | None,
    expression: Tensor | None,
    static_offset: Tensor | None,
) -> Tensor:
    """The rest vertices (*B, V, 3) that the joints follow."""
    rest = model.template
    for basis, coefficients in ((model.shape_basis, shape), (model.expression_basis, expression)):
        if coefficients is not None:
            rest = rest + blend(basis, coefficients)
    return rest if static_offset is None else rest + static_offset


def blend(basis: Tensor, coefficients: Tensor) -> Tensor:
    """Offsets (*B, V, 3): the first s of `basis` (V, 3, S) times `coefficients` (*B, s)."""
    count = coefficients.shape[-1]
    if count > basis.shape[-1]:
        raise ValueError(
            f"{count} coefficients, but the head model has {basis.shape[-1]} of this kind; "
            "pass fewer, or read a model with more"
        )
    flat = basis[..., :count].flatten(0, 1)
    return (coefficients @ flat.mT).unflatten(-1, basis.shape[:2])


def pose_feature(rotations: Tensor) -> Tensor:
    """R - I of all joints but the root, row by row: (*B, 36) from (*B, 5, 3, 3) (FLAME, eq. 4)."""
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[..., 1:, :, :] - identity).flatten(-3)


def joint_transforms(
    rotations: Tensor, joints: Tensor, parents: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Rest-to-posed transforms (*B, J, 4, 4) and posed joints (*B, J, 3) of the kinematic tree.

    Args:
        rotations: (*B, J, 3, 3), of each joint relative to its parent.
        joints: (*B, J, 3) at rest; a parent stands before its children.
    """
    joints = joints.expand(*rotations.shape[:-2], 3)
    turns, places = [], []
    for joint, parent in enumerate(parents):
        turn, place = rotations[..., joint, :, :], joints[..., joint, :]
        if parent >= 0:
            bone = (place - joints[..., parent, :])[..., None]
            place = places[parent] + (turns[parent] @ bone)[..., 0]
            turn = turns[parent] @ turn
        turns.append(turn)
        places.append(place)
    turn, posed = torch.stack(turns, -3), torch.stack(places, -2)
    shift = posed - (turn @ joints[..., None])[..., 0]
    bottom = torch.eye(4, dtype=turn.dtype, device=turn.device)[3:].expand(*turn.shape[:-2], 1, 4)
    return torch.cat((torch.cat((turn, shift[..., None]), -1), bottom), -2), posed


def skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Linear blend skinning of `points` (*B, N, 3): `weights` (N, J), transforms (*B, J, 4, 4)."""
    blended = torch.einsum("nj,...jrc->...nrc", weights, transforms[..., :3, :])
    return (blended[..., :3] @ points[..., None])[..., 0] + blended[..., 3]


def _as_column(translation: Tensor) -> Tensor:
    """A matrix (*B, 4, 4), zero but for the last column."""
    column = torch.nn.functional.pad(translation, (0, 1))
    return torch.nn.functional.pad(column[..., None], (3, 0))
