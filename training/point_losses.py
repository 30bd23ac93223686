"""Losses that place a cloud of points by silhouettes and optical flow alone (Neural Parametric
Gaussians, Das et al., CVPR 2024, section 3.1): no picture is drawn of it but of its motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import interpolate, mse_loss

from gaussian_renderer import render
from scene.cameras import Camera
from scene.flow import subject
from scene.frames import Frame
from scene.gaussian_model import Gaussians
from training.losses import blurred_l2
from utils.gather import gather_rows

DOT = 0.075  # radius of a point whose motion is drawn, in halves of a picture's shorter side
DOT_OPACITY = 0.9
EASE = 0.005  # robust losses are a square below and a length above, in picture diagonals
SLOW = 0.05  # sides of the box per clip: a speed at which a thing may as well rest
CELLS = (5, 10, 25, 50)  # of a picture's side, coarse to fine, over which colours are averaged
LONGEST = 50  # pixels of a side of the pictures that points are drawn in
CHUNK = 2**24  # distances at a time
LEAF = 32  # points of a tree that are searched one by one


@dataclass(frozen=True)
class Silhouette:
    """What of a picture shows the subject."""

    pixels: Tensor  # (P, 2) centres of its pixels, x and y
    nearest: Tensor  # (H, W, 2) int16: of each pixel, column and row of the nearest of these

    @classmethod
    def of(cls, frame: Frame) -> Silhouette | None:
        """Of a loaded frame; None where no pixel shows the subject."""
        shown = subject(frame)
        if not bool(shown.any()):
            return None
        rows, columns = distance_transform_edt(
            ~shown.cpu().numpy(), return_distances=False, return_indices=True
        )
        nearest = np.stack([columns, rows], axis=-1).astype(np.int16)
        return cls(shown.nonzero().flip(1) + 0.5, torch.from_numpy(nearest).to(shown.device))


class Silhouettes:
    """Those of frames, each made once."""

    def __init__(self) -> None:
        self._known: dict[tuple, Silhouette | None] = {}

    def __call__(self, frame: Frame) -> Silhouette | None:
        """Of a loaded frame; None where no pixel shows the subject."""
        key = (frame.image_path, frame.index, frame.image.shape)
        if key not in self._known:
            self._known[key] = Silhouette.of(frame)
        return self._known[key]


def diagonal(camera: Camera) -> float:
    """Of the picture, pixels."""
    return float(np.hypot(camera.width, camera.height))


def chamfer(places: Tensor, silhouette: Silhouette, source: torch.Generator, count: int) -> Tensor:
    """Mean squared distance of the points (N, 2) to the nearest pixel of the silhouette, and of
    its pixels to the nearest point; pixels squared.

    `count` pixels, at random, stand for all of them; 0 takes all. A point outside the picture is
    nearest to what the pixel at its border is nearest to.
    """
    height, width = silhouette.nearest.shape[:2]
    at = places.detach().nan_to_num(0, 0, 0)
    column = at[:, 0].clamp(0, width - 1).long()
    row = at[:, 1].clamp(0, height - 1).long()
    met = silhouette.nearest.flatten(0, 1).index_select(0, row * width + column) + 0.5
    pixels = silhouette.pixels
    if 0 < count < len(pixels):
        chosen = torch.randint(len(pixels), (count,), generator=source)
        pixels = pixels[chosen.to(pixels.device)]
    reached = gather_rows(places, nearest_of(pixels, at))
    return 2 * (mse_loss(places, met) + mse_loss(reached, pixels))  # of two coordinates each


def nearest_of(queries: Tensor, points: Tensor) -> Tensor:
    """(Q,) int64 which of the points (N, D) is nearest to each of the queries (Q, D)."""
    if queries.device.type == "cpu":
        tree = cKDTree(points.numpy(), LEAF, compact_nodes=False, balanced_tree=False)
        found = tree.query(queries.numpy(), workers=torch.get_num_threads())[1]
        return torch.from_numpy(found)
    size = max(CHUNK // len(points), 1)
    return torch.cat([torch.cdist(part, points).argmin(1) for part in queries.split(size)])


def in_front(depths: Tensor) -> Tensor:
    """Mean square of how far points (N,) are behind the camera."""
    return depths.clamp(max=0).square().mean()


def rigidity(rest: Tensor, clouds: Tensor, near: Tensor, unit: Tensor | float) -> Tensor:
    """How much the distances to neighbours differ from those at rest: the sum over neighbours of
    (d_rest^2 - d_t^2)^2, mean over points and moments; distances in `unit`.

    rest: (N, 3); clouds: (T, N, 3); near: (N, k) int64, each point itself the first of its own.
    """
    every = (torch.cat([rest[None], clouds]) / unit).permute(1, 2, 0).contiguous()  # (N, 3, 1 + T)
    others = gather_rows(every.flatten(1), near[:, 1:]).unflatten(2, (3, -1))
    squared = (others - every[:, None]).square().sum(2)  # (N, k - 1, 1 + T)
    return (squared[:, :, :1] - squared[:, :, 1:]).square().sum(1).mean()


def spacing(cloud: Tensor, near: Tensor) -> Tensor:
    """Median distance of the points (N, 3) to their neighbours (N, k), themselves apart."""
    cloud = cloud.detach()
    return (cloud[near[:, 1:]] - cloud[:, None]).norm(dim=2).median().clamp(min=1e-9)


def acceleration(ways: Tensor, apart: float) -> Tensor:
    """Mean square of the acceleration of points, per clip squared; ways: (3, N, 3) places at
    moments that are `apart` of the clip from each other."""
    before, now, after = ways
    return ((before - 2 * now + after) / apart**2).square().sum(1).mean()


def unrest(ways: Tensor, apart: float) -> Tensor:
    """Mean of log(1 + speed / `SLOW`), speeds per clip: what hardly moves is held still, and what
    moves fast is not held back. ways: as `acceleration` wants them."""
    speed = ((ways[2] - ways[0]).square().sum(1) + 1e-10).sqrt() / (2 * apart)
    return torch.log1p(speed / SLOW).mean()


def blur(frame: Frame, points: Gaussians) -> Tensor:
    """Mean square difference of the frame's picture and the points drawn, averaged over cells of
    several sizes; both of at most `LONGEST` pixels a side."""
    camera, image, background = frame.camera, frame.image, frame.background
    factor = min(LONGEST / max(camera.width, camera.height), 1.0)
    if factor < 1:
        size = [max(round(factor * n), 1) for n in (camera.height, camera.width)]
        camera, image = camera.resized(*size[::-1]), interpolate(image[None], size, mode="area")[0]
        if background.ndim == 3:
            background = interpolate(background[None], size, mode="area")[0]
    return blurred_l2(CELLS)(render(camera, points, background).image, image)


def flow_consistency(frame: Frame, cloud: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """How the motion of the points that are seen differs from the flow of the pictures.

    Points are drawn as dots of one size on screen, and their motion in place of a colour; the
    robust difference is added up over the pixels of the subject, as far as their flow is trusted,
    and divided by their number. Motion in diagonals of the picture. (Published are random colours,
    warped by the flow; their gradient reaches a pixel far.)

    cloud: (N, 3) at the frame's moment; now, then: (N, 2) its pixels there and at the next one.
    """
    camera, flow = frame.camera, frame.flow
    size = diagonal(camera)
    with torch.no_grad():
        radius = DOT / 2 * min(camera.width, camera.height) / 2
        depth = camera.depths(cloud).clamp(min=1e-6)
        scales = (radius * depth / camera.K[0, 0])[:, None].expand(-1, 3)
    motion = (then - now) / size
    dots = Gaussians(
        means=cloud.detach(),
        quats=torch.tensor([1.0, 0, 0, 0], device=cloud.device).expand(len(cloud), 4),
        scales=scales,
        opacities=torch.full_like(scales[:, :1], DOT_OPACITY),
        colors=torch.cat([motion, torch.zeros_like(motion[:, :1])], dim=1),
    )
    seen = render(camera, dots, torch.zeros(3, device=cloud.device))
    wanted = resized(flow, camera)
    mask = subject(frame).float()
    missed = seen.image[:2] - seen.alpha.detach() * wanted[:2] / size
    robust = EASE * ((1 + (missed / EASE).square().sum(0)).sqrt() - 1)
    return (robust * wanted[2] * mask).sum() / mask.sum().clamp(min=1)


def resized(flow: Tensor, camera: Camera) -> Tensor:
    """A flow and its trust (3, H, W) in the pixels of the camera's picture."""
    height, width = flow.shape[1:]
    flow = flow.float()
    if (width, height) == (camera.width, camera.height):
        return flow
    flow = interpolate(flow[None], (camera.height, camera.width), mode="area")[0]
    factors = flow.new_tensor([camera.width / width, camera.height / height, 1.0])
    return flow * factors[:, None, None]
