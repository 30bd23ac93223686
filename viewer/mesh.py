"""The head model's surface over a picture: where its tracker says the head is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scene.cameras import Camera
from scene.deformation.skinning import NECK
from scene.frames import Frame
from scene.head.model import HeadModel, pose_head
from utils.images import Pixels
from utils.rotations import rigid_inverse

INK = (0, 160, 255)  # RGB
SHARE = 0.5  # of the ink, the rest is the picture
SHIFT = 4  # binary digits of a pixel that lines are placed by


def surface(head: HeadModel, frame: Frame) -> Tensor:
    """(V, 3) the person's model in the frame's world: its pose says how the head stands to the
    body, the frame where the head stands; without that the world is the head."""
    known = frame.expression[: head.expression_basis.shape[-1]]
    posed = pose_head(head, frame.flame_pose, expression=known)
    place = rigid_inverse(posed.transforms[NECK])
    if frame.head_to_world is not None:
        place = frame.head_to_world @ place
    return posed.vertices @ place[:3, :3].T + place[:3, 3]


def drawn_over(pixels: Pixels, camera: Camera, vertices: Tensor, faces: Tensor) -> Pixels:
    """The picture with the edges of the triangles that face the camera."""
    corners = camera.local(vertices).numpy()[faces.numpy()]  # (F, 3, 3) in the camera's axes
    ahead = (corners[..., 2] > camera.near).all(1)
    corners = corners[ahead]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    corners = corners[(normals * corners[:, 0]).sum(1) < 0]
    lines = cv2.polylines(
        pixels.copy(), _on_grid(corners, camera.K.numpy()), True, INK, 1, cv2.LINE_AA, SHIFT
    )
    return cv2.addWeighted(lines, SHARE, pixels, 1 - SHARE, 0)


def _on_grid(corners: NDArray, K: NDArray) -> NDArray:
    """(F, 3, 2) pixels in steps of 2**-SHIFT; cv2's pixel centres are at whole numbers."""
    places = corners[..., :2] / corners[..., 2:] * K[[0, 1], [0, 1]] + K[:2, 2] - 0.5
    far = 2.0**14  # pixels: cv2 takes 16 bits before the point
    return np.round(places.clip(-far, far) * 2**SHIFT).astype(np.int32)
