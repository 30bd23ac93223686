"""Refine the head's pose in every frame by bundle adjustment: one still head for the whole clip.

Points, and skin tied to a mesh that is not the person's, say turns that are off by degrees, most of
all where the head is turned far, where hair and skull say more than the face. The still head is
Gaussians that start about the fitted mesh and that all frames share, without expressions, which
could make up for wrong poses. In turns it learns from some of the frames, and these are moved until
it looks like them; then every frame is. It is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from diff_gaussian_rasterization import Painter, rasterize
from torch import Tensor, nn

from capture.fit import FLIP, JAW, NECK, Fit
from capture.masks import hangs_on_body
from scene.cameras import Camera, intrinsics
from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable, activate
from scene.head.model import HeadModel, pose_head
from scene.head.points import on_surface
from utils.images import Pixels, resize_premultiplied
from utils.random import generator
from utils.rotations import matrix_to_axis_angle, pose_to_twist, rigid_inverse, twist_to_pose
from utils.sh import rgb_to_sh

SIZE = 96  # pixels of the pictures that are compared
KEYS = 100  # frames, at most, that the still head learns from
POINTS = 4_000  # Gaussians on the skin, and half as many in the hair
HAIR = 1.25  # how far out hair may be, in distances of the scalp from the head's middle
STEPS, MORE, ROUNDS = 800, 150, 10  # steps of training before the first round, and after each
OVER = 1.5  # a head that wrong poses blur draws back to them: steps are longer than they say
RATES = {"means": 2e-4, "quats": 2e-3, "log_scales": 8e-3, "opacity_logits": 0.05, "sh_dc": 1e-2}
SQUARES = 10.0  # weight of L2 beside L1
ALIKE = 0.1  # of grey levels: residuals far beyond it, such as of a mouth, have no say
UNIT = torch.tensor([4e-3] * 3 + [7e-4] * 3)  # radians and metres: about half a pixel
NOISE, PRIOR = 0.05, 12.0  # of levels; in units: what poses may be off by
MOST = 10.0  # units of one step


def refine(
    fit: Fit,
    model: HeadModel,
    picture: Callable[[int], Pixels],
    mask: Callable[[int], np.ndarray],
    size: int,
    seed: int = 0,
) -> Fit:
    """The same fit with better poses of the head; what is constant in the corrections is left out.

    `picture(row)` and `mask(row)` are the square of a frame, `size` wide, and the person in it.
    """
    person = model.personal(fit.shape)
    tracked = viewmats(fit, person)
    region = _Region.of(person)
    seen = _seen(fit, tracked, region, picture, mask, size)
    rows = torch.arange(len(tracked))
    every = -(-len(rows) // KEYS)
    keys = rows[every // 2 :: every]
    found = tracked.clone()
    still = _StillHead(person, region, seed)
    still.paint(seen, tracked, keys)
    still.learn(seen, found, keys, STEPS, (1.0, 0.3))
    for left in reversed(range(ROUNDS)):
        last = left < 2
        moved = still.aligned(seen, found, tracked, keys)
        found[keys] = moved if last else _further(found[keys], moved)
        still.learn(seen, found, keys, MORE, (0.2, 0.14) if last else (0.4, 0.28))
    found = _moved(tracked, _between(_corrections(tracked[keys], found[keys]), keys, len(rows)))
    found = still.aligned(seen, found, tracked, rows)
    corrections = _smooth(_corrections(tracked, found))
    constant = twist_to_pose(corrections.median(0).values)
    return with_viewmats(fit, person, _moved(tracked, corrections) @ rigid_inverse(constant))


def viewmats(fit: Fit, person: HeadModel) -> Tensor:
    """(T, 4, 4) from the head's own frame, metres, to the camera's, OpenCV axes."""
    flip = torch.cat((FLIP, FLIP.new_ones(1)))[:, None]
    found = []
    for pose, expression, shift in zip(fit.pose, fit.expression, fit.shift, strict=True):
        seen = flip * pose_head(person, pose, expression=expression).transforms[1]
        seen[:3, 3] += shift
        found.append(seen)
    return torch.stack(found)


def with_viewmats(fit: Fit, person: HeadModel, found: Tensor) -> Fit:
    """The fit with necks and shifts that give these `viewmats`."""
    pose, shift = fit.pose.clone(), fit.shift.clone()
    for row, seen in enumerate(found):
        joint = pose_head(person, torch.zeros(15), expression=fit.expression[row]).joints[1]
        turn = FLIP[:, None] * seen[:3, :3]
        pose[row, NECK:JAW] = matrix_to_axis_angle(turn)
        shift[row] = seen[:3, 3] - FLIP * (joint - turn @ joint)
    return replace(fit, pose=pose, shift=shift)


@dataclass(frozen=True)
class _Region:
    """What of the person is head: where Gaussians start, and where pictures are compared."""

    faces: Tensor  # (F, 3) of head and face
    scalp: Tensor  # (G, 3) of these, those that hair may grow on
    around: tuple[Tensor, Tensor]  # each (M, 3) metres: the skull with its hair, and the face
    middle: Tensor  # (3,)

    @classmethod
    def of(cls, person: HeadModel) -> _Region:
        head = ~torch.from_numpy(hangs_on_body(person))
        hair = torch.zeros_like(head)
        hair[person.masks.get("scalp", torch.zeros(0, dtype=torch.int64))] = True
        faces = person.faces[head[person.faces].all(1)]
        middle = person.template[head].mean(0)
        out = torch.where(hair[:, None], HAIR, 1.0)
        around = (middle + (person.template - middle) * out)[head]
        # Not their common hull, which has the neck in it.
        over, front = around[:, 1] > middle[1], around[:, 2] > middle[2]
        scalp = faces[hair[faces].any(1)]
        return cls(faces, scalp if len(scalp) else faces, (around[over], around[front]), middle)


@dataclass(frozen=True)
class _Seen:
    """The pictures of all frames, small, the person on white."""

    images: Tensor  # (T, 3, SIZE, SIZE)
    weights: Tensor  # (T, 1, SIZE, SIZE) 1 where the head or the wall beside it is
    K: Tensor  # (3, 3)


def _seen(
    fit: Fit,
    tracked: Tensor,
    region: _Region,
    picture: Callable[[int], Pixels],
    mask: Callable[[int], np.ndarray],
    size: int,
) -> _Seen:
    focal = float(fit.focal[0]) / size * SIZE
    K = intrinsics(focal, focal, SIZE / 2, SIZE / 2)
    images, weights = [], []
    for row, pose in enumerate(tracked):
        pixels = np.dstack((picture(row), mask(row)))
        pixels = resize_premultiplied(pixels, SIZE, SIZE).astype(np.float32) / 255
        images.append(pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:])
        inside = np.zeros((SIZE, SIZE), np.uint8)
        for points in region.around:
            places = Camera(pose, K, SIZE, SIZE).project(points)[0].numpy()
            hull = cv2.convexHull(np.round(places * 16).astype(np.int32))
            cv2.fillConvexPoly(inside, hull, 1, shift=4)
        weights.append(inside)
    shown = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return _Seen(shown, torch.from_numpy(np.stack(weights)).float()[:, None], K)


class _StillHead:
    """Gaussians of one colour each that never move."""

    def __init__(self, person: HeadModel, region: _Region, seed: int) -> None:
        self.source = generator(seed, "still head")
        skin = on_surface(person.template, region.faces, POINTS, self.source)
        hair = on_surface(person.template, region.scalp, POINTS // 2, self.source)
        out = 1 + (HAIR - 1) * torch.rand(POINTS // 2, 1, generator=self.source)
        beyond = region.middle + (hair.interpolate(person.template) - region.middle) * out
        xyz = torch.cat((skin.interpolate(person.template), beyond))
        self.table = GaussianTable.from_points(PointCloud(xyz, torch.full_like(xyz, 0.5)), 0)
        self.middle = region.middle
        columns = self.table.columns
        self.optimizer = torch.optim.Adam(
            [{"params": [columns[name]], "lr": 0.0, "name": name} for name in RATES],
            betas=(0.9, 0.99),
            eps=1e-15,
        )

    @torch.no_grad()
    def paint(self, seen: _Seen, poses: Tensor, rows: Tensor) -> None:
        """First colours: what these frames show on average where the Gaussians are."""
        means, total = self.table.columns["means"], 0.0
        for row in rows.tolist():
            pixels = Camera(poses[row], seen.K, SIZE, SIZE).project(means)[0]
            places = (pixels * (2 / SIZE) - 1)[None, None]
            found = nn.functional.grid_sample(
                seen.images[row, None], places, "bilinear", "border", align_corners=False
            )
            total = total + found[0, :, 0].T
        self.table.columns["sh_dc"].copy_(rgb_to_sh(total / len(rows))[:, None])
        self.table.columns["opacity_logits"].zero_()

    def learn(
        self, seen: _Seen, poses: Tensor, rows: Tensor, steps: int, rates: tuple[float, float]
    ) -> None:
        """Train on frames whose heads stand as `poses` say; rates fall from the first of `rates` to
        the second, in those of `RATES`."""
        begin, end = rates
        order: list[int] = []
        for step in range(steps):
            if not order:
                order = rows[torch.randperm(len(rows), generator=self.source)].tolist()
            row = order.pop()
            for group in self.optimizer.param_groups:
                group["lr"] = RATES[group["name"]] * begin * (end / begin) ** (step / steps)
            self.optimizer.zero_grad()
            drawn = rasterize(**self._inputs(seen, poses[row]), width=SIZE, height=SIZE).color
            off = (drawn - seen.images[row]) * seen.weights[row]
            (off.abs().mean() + SQUARES * off.square().mean()).backward()
            self.optimizer.step()

    @torch.no_grad()
    def aligned(self, seen: _Seen, poses: Tensor, tracked: Tensor, rows: Tensor) -> Tensor:
        """Poses (R, 4, 4) of these rows after a step of Gauss-Newton towards their pictures, by
        differences; loosely held at what was tracked."""
        painter, found = Painter(SIZE, SIZE), []
        middle = torch.eye(4)
        middle[:3, 3] = self.middle
        back = rigid_inverse(middle)
        turns = [middle @ twist_to_pose(part) @ back for part in UNIT.diag()]
        for row in rows.tolist():
            pose = poses[row]
            views = [
                painter.paint(**self._inputs(seen, pose @ turn)).color - seen.images[row]
                for turn in (torch.eye(4), *turns)
            ]
            views = torch.stack(views).flatten(2)
            off, slopes = views[0], (views[1:] - views[0]).flatten(1)  # (6, 3 P) per unit
            trust = seen.weights[row].flatten() / (1 + (off / ALIKE).square().mean(0)) ** 2
            weighted = slopes * trust.repeat(3)
            known = pose_to_twist(back @ rigid_inverse(tracked[row]) @ pose @ middle) / UNIT
            hold = (NOISE / PRIOR) ** 2
            normal = weighted @ slopes.T
            normal += (hold + 1e-3 * float(normal.diagonal().mean())) * torch.eye(6)
            step = torch.linalg.solve(normal, -weighted @ off.flatten() - hold * known)
            step = UNIT * step.clamp(-MOST, MOST)
            found.append(pose @ middle @ twist_to_pose(step) @ back)
        return torch.stack(found)

    def _inputs(self, seen: _Seen, viewmat: Tensor) -> dict[str, object]:
        drawn = activate(self.table.columns, 0)
        return {
            "means": drawn.means,
            "quats": drawn.quats,
            "scales": drawn.scales,
            "opacities": drawn.opacities,
            "sh": drawn.sh,
            "viewmat": viewmat,
            "K": seen.K,
            "background": torch.ones(3),
        }


def _corrections(tracked: Tensor, found: Tensor) -> Tensor:
    """(T, 6) twists from tracked poses to those that were found."""
    pairs = zip(tracked, found, strict=True)
    return torch.stack([pose_to_twist(rigid_inverse(a) @ b) for a, b in pairs])


def _moved(tracked: Tensor, corrections: Tensor) -> Tensor:
    return torch.stack(
        [pose @ twist_to_pose(twist) for pose, twist in zip(tracked, corrections, strict=True)]
    )


def _further(before: Tensor, after: Tensor) -> Tensor:
    return _moved(before, OVER * _corrections(before, after))


def _between(corrections: Tensor, keys: Tensor, count: int) -> Tensor:
    """(count, 6) linear between those of the keys (K, 6)."""
    columns = [np.interp(np.arange(count), keys, column) for column in corrections.T]
    return torch.from_numpy(np.stack(columns, 1)).float()


def _smooth(corrections: Tensor) -> Tensor:
    """A binomial window over each frame and its two neighbours; the ends keep theirs."""
    inner = (corrections[:-2] + 2 * corrections[1:-1] + corrections[2:]) / 4
    return torch.cat((corrections[:1], inner, corrections[-1:]))
