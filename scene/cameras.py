"""Pinhole cameras. Inside the project every camera has OpenCV axes (x right, y down, z forward) and
`viewmat` maps world to camera, `p_cam = viewmat @ p_world`; readers convert once, here, at the
border."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from utils.devices import to_device

OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
MIRROR_X = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))

# What a file may say before it is taken for damaged.
MAX_SHEAR = 0.01  # of a rotation's axes against each other; files round to three digits at worst
MAX_SKEW = 1e-3  # of the pixels, in focal lengths
MAX_DISTANCE = 1e8  # world units from the origin; scenes that are far off or large are moved
MAX_ZOOM = 1e3  # focal length in image sides, and its inverse
MAX_OFF_CENTRE = 10  # principal point in image sides


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; pixel centres lie at .5, the principal point may be anywhere."""

    viewmat: Tensor  # (4, 4) world to camera
    K: Tensor  # (3, 3) pixels
    width: int
    height: int
    near: float = 0.01  # world units
    far: float = math.inf

    @classmethod
    def from_opengl_c2w(cls, c2w: Tensor, K: Tensor, width: int, height: int) -> Camera:
        """From a camera-to-world matrix (4, 4) with OpenGL axes (x right, y up, z backward).

        As all constructors: raises ValueError when the numbers are no pose or no lens; a pose may
        hold one scale for all axes, which goes.
        """
        return cls.from_opengl_w2c(_inverse(c2w.double()), K, width, height)

    @classmethod
    def from_opengl_w2c(cls, w2c: Tensor, K: Tensor, width: int, height: int) -> Camera:
        """From a world-to-camera matrix (4, 4) with OpenGL axes.

        A negative focal length fx says that the camera's x axis points to the picture's left
        (NeRFace, IMavatar): then it is turned.
        """
        axes, K = OPENGL_TO_OPENCV, K.clone()
        if K[0, 0] < 0:
            axes, K[0, 0] = axes @ MIRROR_X, -K[0, 0]
        return cls.from_opencv_w2c(axes @ w2c.double(), K, width, height)

    @classmethod
    def from_opencv_c2w(cls, c2w: Tensor, K: Tensor, width: int, height: int) -> Camera:
        """From a camera-to-world matrix (4, 4) with OpenCV axes (x right, y down, z forward)."""
        return cls.from_opencv_w2c(_inverse(c2w.double()), K, width, height)

    @classmethod
    def from_opencv_w2c(cls, w2c: Tensor, K: Tensor, width: int, height: int) -> Camera:
        """From a world-to-camera matrix (4, 4) with OpenCV axes: the project's own."""
        return cls(_rigid(w2c.double()), _lens(K.float(), width, height), width, height)

    @classmethod
    def from_llff(cls, pose: Tensor, K: Tensor, width: int, height: int) -> Camera:
        """From LLFF's (3, 4): the columns are the camera's down, right, back and position."""
        down, right, back, position = pose.double().unbind(1)
        c2w = torch.eye(4, dtype=torch.float64)
        c2w[:3] = torch.stack([right, -down, back, position], dim=1)
        return cls.from_opengl_c2w(c2w, K, width, height)

    @classmethod
    def from_projection(cls, P: Tensor, width: int, height: int) -> Camera:
        """From a projection (3, 4) of world points to pixels, OpenCV axes, of any factor and sign.

        P = s K [R | t] is taken apart by an RQ decomposition (Hartley and Zisserman, 2nd edition,
        6.2.4).
        """
        P = P.double()
        if not torch.isfinite(P).all() or torch.linalg.det(P[:, :3]).abs() < 1e-12:
            raise ValueError("it is singular or holds NaN or infinite numbers")
        P = P * torch.linalg.det(P[:, :3]).sign()
        flip = torch.eye(3, dtype=P.dtype).flip(0)
        q, r = torch.linalg.qr((flip @ P[:, :3]).mT)
        K, rotation = flip @ r.mT @ flip, flip @ q.mT
        signs = K.diagonal().sign()
        K, rotation = K * signs, signs[:, None] * rotation
        w2c = torch.eye(4, dtype=P.dtype)
        w2c[:3, :3], w2c[:3, 3] = rotation, torch.linalg.solve(K, P[:, 3])
        K = K / K[2, 2]
        if abs(float(K[0, 1])) > MAX_SKEW * float(K[0, 0]):
            raise ValueError(f"its pixels are skewed by {float(K[0, 1]):.3g}; a pinhole has none")
        K[0, 1] = 0
        return cls.from_opencv_w2c(w2c, K, width, height)

    @property
    def center(self) -> Tensor:
        """(3,) position of the camera in the world."""
        return -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]  # a rotation's inverse

    @property
    def forward(self) -> Tensor:
        """(3,) unit viewing direction in the world."""
        return self.viewmat[2, :3]

    @property
    def fov_x(self) -> float:
        """Horizontal field of view, radians."""
        return 2 * math.atan(self.width / (2 * float(self.K[0, 0])))

    @property
    def fov_y(self) -> float:
        """Vertical field of view, radians."""
        return 2 * math.atan(self.height / (2 * float(self.K[1, 1])))

    def local(self, points: Tensor) -> Tensor:
        """(N, 3) along the camera's axes, of points (N, 3) in the world."""
        viewmat = self.viewmat.to(points)
        return points @ viewmat[:3, :3].T + viewmat[:3, 3]

    def depths(self, points: Tensor) -> Tensor:
        """(N,) how far points (N, 3) lie before the camera, world units; below 0 behind it."""
        viewmat = self.viewmat.to(points)
        return points @ viewmat[2, :3] + viewmat[2, 3]

    def project(self, points: Tensor, nearest: float = 1e-6) -> tuple[Tensor, Tensor]:
        """Pixels (N, 2) and depths (N,) of points (N, 3); what is nearer than `nearest`, or behind
        the camera, is divided by that."""
        local = self.local(points)
        image = local @ self.K.to(points).T
        return image[:, :2] / local[:, 2:].clamp(min=nearest), local[:, 2]

    def resized(self, width: int, height: int) -> Camera:
        """The same view on another pixel grid."""
        factors = self.K.new_tensor([width / self.width, height / self.height, 1.0])
        return replace(self, K=self.K * factors[:, None], width=width, height=height)

    def at(self, resolution: int) -> Camera:
        """The same view after `-r`."""
        return self.resized(*target_size(self.width, self.height, resolution))

    def to(self, device: torch.device) -> Camera:
        if self.viewmat.device == self.K.device == device:
            return self
        return replace(self, viewmat=to_device(self.viewmat, device), K=to_device(self.K, device))


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    """(3, 3) pinhole matrix, pixels."""
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _inverse(c2w: Tensor) -> Tensor:
    _require_pose(c2w)
    return torch.linalg.inv(c2w)


def _require_pose(matrix: Tensor) -> None:
    # As plain numbers: a rig has thousands of poses, and small tensors are slow.
    *rows, last = matrix.tolist()
    numbers = [*chain(*rows, last)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("it holds NaN or infinite numbers")
    if max(map(abs, numbers)) > MAX_DISTANCE:
        raise ValueError(f"it holds numbers beyond {MAX_DISTANCE:g}")
    (a, b, c, _), (d, e, f, _), (g, h, i, _) = rows
    volume = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(volume) < 1e-8 or last != [0, 0, 0, 1]:
        raise ValueError("it is singular or its last row is not 0 0 0 1")


def _rigid(w2c: Tensor) -> Tensor:
    """(4, 4) float32 without the scale that some tools leave in a pose; pixels do not change."""
    _require_pose(w2c)
    volume = torch.linalg.det(w2c[:3, :3])
    if volume < 0:
        raise ValueError("it mirrors the world")
    scale = volume ** (1 / 3)
    viewmat = torch.cat([w2c[:3] / scale, w2c[3:]])
    rotation = viewmat[:3, :3]
    if (rotation @ rotation.mT - torch.eye(3, dtype=rotation.dtype)).abs().max() > MAX_SHEAR:
        raise ValueError("its axes are not at right angles")
    return viewmat.float()


def _lens(K: Tensor, width: int, height: int) -> Tensor:
    side = max(width, height)
    pixels = f"{width}x{height} pixels"
    fx, fy, cx, cy = K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    if not (torch.isfinite(K).all() and side / MAX_ZOOM < min(fx, fy)
            and max(fx, fy) < side * MAX_ZOOM):  # fmt: skip
        raise ValueError(f"focal lengths {fx:g}, {fy:g} are none for {pixels}")
    if max(abs(cx), abs(cy)) > MAX_OFF_CENTRE * side:
        raise ValueError(f"principal point {cx:g}, {cy:g} is far outside {pixels}")
    return K


def target_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Size after `-r`: 1, 2, 4, 8 divide the file's size, any other number is the wanted width."""
    if resolution == -1:
        return width, height
    factor = resolution if resolution in (1, 2, 4, 8) else width / resolution
    return max(1, round(width / factor)), max(1, round(height / factor))
