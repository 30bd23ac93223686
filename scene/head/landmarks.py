"""Landmarks on a posed head: iBUG's 68 or 70, with a jaw line that follows the head's yaw."""

from __future__ import annotations

import torch
from torch import Tensor

from scene.head.model import HeadModel, axis_angle_to_matrices

CONTOUR = 17  # the first landmarks, along the jaw
MAX_YAW = 39  # degrees; rows 0..39 of the contour table turn left, 40..78 are -1..-39


def landmarks(model: HeadModel, vertices: Tensor) -> Tensor:
    """Landmarks (*B, L, 3) of (*B, V, 3) vertices; the jaw line is the one seen from the front."""
    table = _table(model)
    return surface_points(model, vertices, table.faces, table.weights)


def dynamic_landmarks(
    model: HeadModel,
    vertices: Tensor,
    flame_pose: Tensor,
    *,
    yaw_sign: int = 1,
    camera_rotation: Tensor | None = None,
) -> Tensor:
    """Landmarks (*B, L, 3) whose first 17 lie on the silhouette that a camera on +z sees.

    Args:
        vertices: (*B, V, 3), posed.
        flame_pose: (*B, 15), radians; root and neck decide the row of the contour table.
        yaw_sign: +1 as DECA and IMavatar, right for y up and a camera on +z; -1 as FLAME_PyTorch
            and the metrical tracker, right after half a turn of the camera.
        camera_rotation: (*B, 3, 3), applied after the root's, as the metrical tracker does.

    Raises:
        ValueError: the model has no contour table.
    """
    table = _table(model)
    if table.contour_faces is None:
        raise ValueError("the landmark file has no dynamic contour; use landmarks()")
    row = contour_row(yaw_sign * head_yaw(flame_pose, camera_rotation))
    contour = surface_points(model, vertices, table.contour_faces[row], table.contour_weights[row])
    return torch.cat((contour, landmarks(model, vertices)[..., CONTOUR:, :]), -2)


def head_yaw(flame_pose: Tensor, camera_rotation: Tensor | None = None) -> Tensor:
    """Degrees (*B,) that root and neck turn the head; positive to the character's left."""
    root, neck = axis_angle_to_matrices(flame_pose[..., :6].unflatten(-1, (2, 3))).unbind(-3)
    turn = root @ neck
    if camera_rotation is not None:
        turn = camera_rotation @ turn
    flat = torch.hypot(turn[..., 0, 0], turn[..., 1, 0])
    return torch.rad2deg(torch.atan2(-turn[..., 2, 0], flat))


def contour_row(yaw: Tensor) -> Tensor:
    """Row (*B,) of the contour table for a yaw in degrees; beyond 39 the last one of its side."""
    degrees = yaw.detach().round().clamp(-MAX_YAW, MAX_YAW).long()
    return torch.where(degrees < 0, MAX_YAW - degrees, degrees)


def surface_points(model: HeadModel, vertices: Tensor, faces: Tensor, weights: Tensor) -> Tensor:
    """Points (*B, L, 3) on the triangles `faces` (*B, L) of (*B, V, 3) vertices."""
    corners = model.faces[faces]
    batch = vertices.shape[:-2]
    flat = corners.expand(*batch, *corners.shape[-2:]).flatten(-2)
    picked = torch.take_along_dim(vertices, flat[..., None], dim=-2)
    return (picked.unflatten(-2, (-1, 3)) * weights[..., None]).sum(-2)


def _table(model: HeadModel):
    if model.landmarks is None:
        raise ValueError(
            "this head model has no landmarks; put landmark_embedding.npy beside its file"
        )
    return model.landmarks
