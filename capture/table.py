"""Where the net's 468 points are on a head model, and a head model of nothing but these points.

The points are no fixed places of the skin: those at the outline slide with the direction that the
head is seen from, and the others a little. The table says how (scripts/tie_landmarks.py makes it).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capture.nets import LEFT_EYE, LEFT_LIDS, RIGHT_EYE, RIGHT_LIDS
from scene.head.model import HeadModel, blend, joint_transforms, pose_feature, skin
from scene.head.points import Attachment
from utils.files import replacing
from utils.rotations import axis_angle_to_matrices
from utils.tensors import read_tensors, write_tensors

FOLDER = Path(__file__).resolve().parents[1] / "data" / "models"
VERSION = 2  # raise when what a table holds changes, so that old ones are drawn again
N_SLIDES = 5  # of `features`
N_IRISES = 2
SLANT = 10.0  # degrees by which an eye's outer corner lies farther back than its inner one
# Pairs of points whose distances say how far lids and lips are open: upper and lower.
RIGHT_LID_PAIRS = ((159, 145), (158, 153), (160, 144), (157, 154), (161, 163))
LEFT_LID_PAIRS = ((386, 374), (385, 380), (387, 373), (384, 381), (388, 390))
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
MOUTH_CORNERS = (61, 291)
LIPS = (
    61,
    146,
    91,
    181,
    84,
    17,
    314,
    405,
    321,
    375,
    291,
    185,
    40,
    39,
    37,
    0,
    267,
    269,
    270,
    409,
    78,
    95,
    88,
    178,
    87,
    14,
    317,
    402,
    318,
    324,
    308,
    191,
    80,
    81,
    82,
    13,
    312,
    311,
    310,
    415,
)
# The outline of the face, from the forehead's middle to the person's left and around.
CONTOUR = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)


@dataclass(frozen=True)
class PointTable:
    """Of one head model."""

    vertices: Tensor  # (468, 3) corners of the triangle that a point is tied to
    weights: Tensor  # (468, 3) barycentric
    offset: Tensor  # (468, 3) metres from there to the point's mean place
    slides: Tensor  # (468, 3, 5) metres per unit of `features`
    spread: Tensor  # (468,) metres that the point is off, over renders of other people
    openings: Tensor  # (3,) what `lid_opening` reads of eyes open, half shut, shut

    @classmethod
    def read(cls, file: Path) -> PointTable:
        """What `write` wrote; InputError where it is damaged."""
        return cls(**read_tensors(file))

    def write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            write_tensors(temporary, {f.name: getattr(self, f.name) for f in fields(self)})


def table_file(model: HeadModel, nets: str) -> Path:
    """Where the table of a head model and of nets with this fingerprint is kept."""
    return FOLDER / f"points{VERSION}_{model.fingerprint()[:12]}_{nets[:8]}.safetensors"


def features(seen_from: Tensor) -> Tensor:
    """(*B, 5) of the direction (*B, 3) from the head to the camera, in the head's frame."""
    yaw = torch.atan2(seen_from[..., 0], seen_from[..., 2])
    pitch = torch.atan2(seen_from[..., 1], seen_from[..., [0, 2]].norm(dim=-1))
    return torch.stack((yaw, pitch, yaw.square(), pitch.square(), yaw * pitch), -1)


def lid_opening(points: np.ndarray, lids: np.ndarray) -> np.ndarray:
    """How far the right and the left eye are open (T, 2): gap of the lids over the eye's width, as
    seen from straight ahead.

    Args:
        points: (T, 468, 3) pixels; their depths tell by how much a turn narrows the eyes.
        lids: (T, 2, 16, 2) of the iris net, in the order of `RIGHT_LIDS`, which see a shut eye
            better than the 468 do.
    """
    gaps = [(12, 4), (11, 3), (13, 5)]  # upper and lower middle of the net's lids
    width = np.linalg.norm(lids[:, :, 0] - lids[:, :, 8], axis=-1)
    gap = np.mean([np.linalg.norm(lids[:, :, a] - lids[:, :, b], axis=-1) for a, b in gaps], 0)
    yaw = np.radians(rough_yaw(points))[:, None] + np.radians([-SLANT, SLANT])
    return gap / np.maximum(width, 1e-6) * np.cos(yaw) / np.cos(np.radians(SLANT))


def rough_yaw(points: np.ndarray) -> np.ndarray:
    """Degrees (T,) that the head of points (T, 468, 3) turns to its left, by the net's own depths
    of the eyes."""
    across = points[:, LEFT_EYE[0]] - points[:, RIGHT_EYE[0]]
    return np.degrees(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1])))


@dataclass(frozen=True)
class PointHead:
    """A head model that knows its 468 points and two irises only; metres."""

    template: Tensor  # (470, 3)
    shape_basis: Tensor  # (470, 3, S)
    expression_basis: Tensor  # (470, 3, E)
    pose_basis: Tensor  # (470, 3, 36)
    skin_weights: Tensor  # (470, 5)
    joints: Tensor  # (5, 3) at rest
    joint_shapes: Tensor  # (5, 3, S)
    joint_expressions: Tensor  # (5, 3, E)
    parents: tuple[int, ...]
    slides: Tensor  # (470, 3, 5)
    spread: Tensor  # (470,)

    @classmethod
    def of(cls, model: HeadModel, table: PointTable) -> PointHead:
        """Raises ValueError where the model has no landmarks for the irises (rows 68 and 69)."""
        if model.landmarks is None or len(model.landmarks.faces) < 70:
            raise ValueError("the head model has no irises among its landmarks")
        iris = model.faces[model.landmarks.faces[68:70]]
        ties = torch.cat((table.vertices, iris))
        weights = torch.cat((table.weights, model.landmarks.weights[68:70]))
        tie = Attachment(ties, weights, torch.zeros(len(ties)))
        none = torch.zeros(N_IRISES, 3)
        regressor = model.joint_regressor
        return cls(
            template=tie.interpolate(model.template) + torch.cat((table.offset, none)),
            shape_basis=tie.interpolate(model.shape_basis),
            expression_basis=tie.interpolate(model.expression_basis),
            pose_basis=tie.interpolate(model.pose_basis),
            skin_weights=tie.interpolate(model.skin_weights),
            joints=regressor @ model.template,
            joint_shapes=torch.einsum("jv,vcs->jcs", regressor, model.shape_basis),
            joint_expressions=torch.einsum("jv,vce->jce", regressor, model.expression_basis),
            parents=model.parents,
            slides=torch.cat((table.slides, none[..., None].expand(-1, -1, N_SLIDES))),
            spread=torch.cat((table.spread, torch.full((N_IRISES,), 1e-3))),
        )

    def posed(
        self,
        pose: Tensor,
        shape: Tensor,
        expression: Tensor,
        offset: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Points (T, 470, 3) and joint transforms (T, 5, 4, 4).

        Args:
            pose: (T, 15) as of `pose_head`.
            shape: (S,); expression: (T, E).
            offset: (470, 3) a person's own, at rest; or (T, 470, 3), of every frame.
            seen: (T, 5) `features` of the direction from the head to the camera.
        """
        rest = (
            self.template
            + blend(self.shape_basis, shape)
            + blend(self.expression_basis, expression)
        )
        if offset is not None:
            rest = rest + offset
        if seen is not None:
            rest = rest + torch.einsum("tf,pcf->tpc", seen, self.slides)
        joints = self.joints + blend(self.joint_shapes, shape)
        joints = joints + blend(self.joint_expressions, expression)
        rotations = axis_angle_to_matrices(pose.unflatten(-1, (5, 3)))
        rest = rest + blend(self.pose_basis, pose_feature(rotations))
        transforms, _ = joint_transforms(rotations, joints, self.parents)
        return skin(rest, self.skin_weights, transforms), transforms


LID_ROWS = (RIGHT_LIDS, LEFT_LIDS)
