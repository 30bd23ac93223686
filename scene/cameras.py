"""Pinhole cameras. Inside the project every camera has OpenCV axes (x right, y down, z forward) and
`viewmat` maps world to camera, `p_cam = viewmat @ p_world`; readers convert once, here, at the border."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from utils.devices import send

OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
MIRROR_X = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))

# What a file may say before it is taken for damaged.
MAX_SHEAR = 0.01  # of a rotation's axes against each other; files round to three digits at worst
MAX_SKEW = 1e-3  # of the pixels, in focal lengths
MAX_DISTANCE = 1e6  # world units from the origin: what float32 can tell apart
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
    far: float = 100.0

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

        P = s K [R | t] is taken apart by an RQ decomposition (Hartley and Zisserman, 2nd ed., 6.2.4).
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
        return torch.linalg.inv(self.viewmat.double())[:3, 3].float()

    @property
    def forward(self) -> Tensor:
        """(3,) unit viewing direction in the world."""
        return torch.linalg.inv(self.viewmat.double())[:3, 2].float()

    @property
    def fov_x(self) -> float:
        """Horizontal field of view, radians."""
        return 2 * math.atan(self.width / (2 * float(self.K[0, 0])))

    @property
    def fov_y(self) -> float:
        """Vertical field of view, radians."""
        return 2 * math.atan(self.height / (2 * float(self.K[1, 1])))

    def resized(self, width: int, height: int) -> Camera:
        """The same view on another pixel grid."""
        factors = self.K.new_tensor([width / self.width, height / self.height, 1.0])
        return replace(self, K=self.K * factors[:, None], width=width, height=height)

    def to(self, device: torch.device) -> Camera:
        return replace(self, viewmat=send(self.viewmat, device), K=send(self.K, device))


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    """(3, 3) pinhole matrix, pixels."""
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _inverse(c2w: Tensor) -> Tensor:
    _require_pose(c2w)
    return torch.linalg.inv(c2w)


def _require_pose(matrix: Tensor) -> None:
    if not torch.isfinite(matrix).all():
        raise ValueError("it holds NaN or infinite numbers")
    if matrix[:3].abs().max() > MAX_DISTANCE:
        raise ValueError(f"it holds numbers beyond {MAX_DISTANCE:g}")
    if torch.linalg.det(matrix[:3, :3]).abs() < 1e-8 or (matrix[3] - matrix.new_tensor([0, 0, 0, 1])).any():
        raise ValueError("it is singular or its last row is not 0 0 0 1")


def _rigid(w2c: Tensor) -> Tensor:
    """(4, 4) float32 without the scale that some tools leave in a pose; pixels do not change."""
    _require_pose(w2c)
    scale = torch.linalg.det(w2c[:3, :3]).sign() * torch.linalg.det(w2c[:3, :3]).abs() ** (1 / 3)
    if scale < 0:
        raise ValueError("it mirrors the world")
    viewmat = torch.cat([w2c[:3] / scale, w2c[3:]])
    rotation = viewmat[:3, :3]
    if (rotation @ rotation.mT - torch.eye(3, dtype=rotation.dtype)).abs().max() > MAX_SHEAR:
        raise ValueError("its axes are not at right angles")
    return viewmat.float()


def _lens(K: Tensor, width: int, height: int) -> Tensor:
    side = max(width, height)
    if not (torch.isfinite(K).all() and side / MAX_ZOOM < K.diagonal()[:2].min()
            and K.diagonal()[:2].max() < side * MAX_ZOOM):
        raise ValueError(f"focal lengths {float(K[0, 0]):g}, {float(K[1, 1]):g} are none for {width}x{height} pixels")
    if K[:2, 2].abs().max() > MAX_OFF_CENTRE * side:
        raise ValueError(f"principal point {float(K[0, 2]):g}, {float(K[1, 2]):g} is far outside {width}x{height} pixels")
    return K


def target_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Size after `-r`: 1, 2, 4, 8 divide the file's size, any other number is the wanted width."""
    if resolution == -1:
        return width, height
    factor = resolution if resolution in (1, 2, 4, 8) else width / resolution
    return max(1, round(width / factor)), max(1, round(height / factor))


def look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """(4, 4) world-to-camera matrix of a camera at `eye` that looks at `target`, OpenCV axes."""
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=0)
    down = torch.linalg.cross(forward, right)
    viewmat = torch.eye(4, dtype=eye.dtype)
    viewmat[:3, :3] = torch.stack([right, down, forward])
    viewmat[:3, 3] = -viewmat[:3, :3] @ eye
    return viewmat


def focus(cameras: list[Camera]) -> Tensor:
    """(3,) the point nearest, in the least-squares sense, to all optical axes.

    Rigs whose axes are (nearly) parallel have no such point; the damping then keeps the answer one
    typical camera spread in front of the cameras.
    """
    centers = torch.stack([c.center for c in cameras]).double()
    axes = torch.stack([c.forward for c in cameras]).double()
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]
    prior = centers.mean(0) + axes.mean(0) * centers.std(0, correction=0).norm()
    damping = 1e-3 * torch.eye(3, dtype=torch.float64)
    rhs = (across @ centers[:, :, None]).mean(0)[:, 0] + damping @ prior
    return torch.linalg.solve(across.mean(0) + damping, rhs).float()


def swung(camera: Camera, pivot: Tensor, axis: Tensor, angle: float) -> Camera:
    """The camera carried by `angle` (radians) about the unit `axis` (3,) through `pivot` (3,)."""
    (x, y, z), world = axis.tolist(), torch.eye(4)
    world[:3, :3] = torch.matrix_exp(angle * torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    world[:3, 3] = pivot - world[:3, :3] @ pivot
    return replace(camera, viewmat=camera.viewmat @ torch.linalg.inv(world))


def orbit(cameras: list[Camera], count: int, elevation: float, up: Tensor | None = None) -> list[Camera]:
    """`count` cameras on a full circle about the focus of `cameras`, at their median distance.

    `elevation` is the angle above the horizon in radians, `up` (3,) the world's up axis, z where
    nothing is said. Size and intrinsics are those of the first camera.
    """
    first, target = cameras[0], focus(cameras)
    radius = torch.stack([(c.center - target).norm() for c in cameras]).median()
    _, y, z = torch.eye(3)
    up = z if up is None else up
    side = torch.nn.functional.normalize(torch.linalg.cross(y if abs(up[1]) < 0.9 else z, up), dim=0)
    front = torch.linalg.cross(up, side)
    path = []
    for k in range(count):
        azimuth = -math.pi + 2 * math.pi * k / count
        flat = math.cos(azimuth) * side + math.sin(azimuth) * front
        eye = target + radius * (math.cos(elevation) * flat + math.sin(elevation) * up)
        path.append(replace(first, viewmat=look_at(eye, target, up)))
    return path


def spiral(cameras: list[Camera], count: int, turns: int = 2) -> list[Camera]:
    """`count` cameras that wind about the middle of `cameras` and look at their focus (LLFF's path).

    The spiral is as wide as nine tenths of the cameras stand from the middle.
    """
    centers = torch.stack([c.center for c in cameras])
    middle, target, up = centers.mean(0), focus(cameras), common_up(cameras)
    axes = look_at(middle, target, up)[:3, :3]  # rows: right, down, forward
    radii = torch.quantile(((centers - middle) @ axes.T).abs(), 0.9, dim=0)
    path = []
    for k in range(count):
        angle = 2 * math.pi * turns * k / count
        swing = torch.tensor([math.cos(angle), math.sin(angle), math.sin(angle / 2)])
        eye = middle + (radii * swing) @ axes
        path.append(replace(cameras[0], viewmat=look_at(eye, target, up)))
    return path


def tour(cameras: list[Camera], count: int) -> list[Camera]:
    """A path to show the scene on: a spiral before cameras that face one way, else a circle."""
    facing = torch.stack([c.forward for c in cameras]).mean(0).norm()
    if facing > 0.5:
        return spiral(cameras, count)
    return orbit(cameras, count, math.radians(10), common_up(cameras))


def common_up(cameras: list[Camera]) -> Tensor:
    """(3,) the mean of the cameras' up directions: the world's, for cameras held upright."""
    ups = torch.stack([-c.viewmat[1, :3] for c in cameras])
    return torch.nn.functional.normalize(ups.mean(0), dim=0)


def extent(cameras: list[Camera]) -> float:
    """1.1 times the largest distance of a camera from the mean camera (3DGS): the scene's unit.

    A rig that stands still would give 0; its distance to what it looks at stands in for it.
    """
    centers = torch.stack([c.center for c in cameras])
    spread = float((centers - centers.mean(0)).norm(dim=1).max())
    if spread > 1e-3:
        return 1.1 * spread
    return max(float((centers.mean(0) - focus(cameras)).norm()), 1.0)
