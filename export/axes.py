"""Turning Gaussians, harmonics included, into the axes that the viewers of a format expect.

The scene upright: y up, z towards the training cameras, x to their right. Every format's `AXES`
says what becomes of that.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from scene.facts import SceneFacts
from scene.gaussian_model import Gaussians
from utils.rotations import compose
from utils.sh import rgb_to_sh, sh_basis

Y_UP = torch.eye(3, dtype=torch.float64)
# y down: a half turn about z, which is how the viewers of PLY files turn them back.
Y_DOWN = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
NEAR = 0.9  # cosine from which a direction counts as that of the axis nearest to it
BANDS = 3  # harmonics of degree 0 to 3


def upright(facts: SceneFacts) -> Tensor:
    """(3, 3) float64 from the scene's world to one with y up and its cameras towards z.

    A direction near an axis is taken for that axis: datasets are built along theirs, and quarter
    turns move no digit.
    """
    up = _axis(facts.up.double())
    front = facts.eye.double() - facts.middle.double()
    front = front - (front @ up) * up
    if front.norm() < 0.1 * facts.extent:  # cameras all around: any side will do
        front = torch.eye(3, dtype=torch.float64)[int(up.abs().argmin())]
        front = front - (front @ up) * up
    front = _axis(normalize(front, dim=0))
    front = normalize(front - (front @ up) * up, dim=0)
    return torch.stack([torch.linalg.cross(up, front), up, front])


class Place:
    """From the scene's world to that of a file, and back."""

    def __init__(self, rotation: Tensor, unit: float, origin: Tensor) -> None:
        self.rotation, self.unit, self.origin = rotation, unit, origin

    @classmethod
    def of(cls, facts: SceneFacts, axes: Tensor, wanted: str) -> Place:
        """Upright as the format's `axes` say, about the scene's own origin; or where the dataset
        has it. Sizes are the dataset's."""
        world = facts.world
        if wanted == "dataset":
            origin = torch.tensor(world.origin, dtype=torch.float64)
            return cls(torch.eye(3, dtype=torch.float64), world.unit, origin)
        return cls(axes @ upright(facts), world.unit, torch.zeros(3, dtype=torch.float64))

    def point(self, xyz: Tensor) -> tuple[float, ...]:
        """A place (3,) of the scene, in the file."""
        return tuple((self.unit * self.rotation @ xyz.double() + self.origin).tolist())

    def there(self, gaussians: Gaussians) -> Gaussians:
        moved = turned(gaussians, self.rotation, self.unit)
        if not self.origin.any():
            return moved
        return replace(moved, means=moved.means.double() + self.origin.to(moved.means.device))

    def back(self, gaussians: Gaussians) -> Gaussians:
        means = (gaussians.means.double() - self.origin.to(gaussians.means.device)).float()
        near = replace(gaussians, means=means / self.unit, scales=gaussians.scales / self.unit)
        return turned(near, self.rotation.mT)


def turned(gaussians: Gaussians, rotation: Tensor, unit: float = 1.0) -> Gaussians:
    """Gaussians with harmonics in a world turned by `rotation` (3, 3) and enlarged by `unit`."""
    turn = rotation.to(gaussians.means).double()
    quat = matrix_to_quat(turn).to(gaussians.quats)
    shown, sh = with_harmonics(gaussians), with_harmonics(gaussians).sh
    bands = [sh[:, :1]]
    for degree in range(1, shown.sh_degree + 1):
        block = sh[:, degree**2 : (degree + 1) ** 2]
        bands.append(torch.einsum("ij,njc->nic", sh_turn(turn, degree).to(sh), block))
    return replace(
        shown,
        means=unit * (gaussians.means.double() @ turn.mT).to(gaussians.means),
        quats=compose(quat.expand_as(gaussians.quats), gaussians.quats),
        scales=unit * gaussians.scales,
        sh=torch.cat(bands, dim=1),
    )


def sh_turn(rotation: Tensor, degree: int) -> Tensor:
    """(2l + 1, 2l + 1) float64: what a turn does to the coefficients of degree l.

    The turned function at d is the old one at the direction that d came from; so many directions
    say so that the matrix is the one that fits (exact: the band is closed under turns).
    """
    source = torch.Generator().manual_seed(0)
    directions = normalize(torch.randn(64, 3, generator=source, dtype=torch.float64), dim=1)
    band = slice(degree**2, (degree + 1) ** 2)
    new = sh_basis(directions, degree)[:, band]
    old = sh_basis(directions @ rotation.cpu(), degree)[:, band]
    return torch.linalg.lstsq(new, old).solution.to(rotation.device)


def with_harmonics(gaussians: Gaussians) -> Gaussians:
    """The same with harmonics in place of colours, and only those of the drawn degree."""
    if gaussians.sh is None:
        sh = rgb_to_sh(gaussians.colors[:, :3])[:, None]
        return replace(gaussians, sh=sh, colors=None, sh_degree=0)
    return replace(gaussians, sh=gaussians.sh[:, : (gaussians.sh_degree + 1) ** 2])


def padded(gaussians: Gaussians) -> Gaussians:
    """The same with harmonics of degree 3, the added ones zero."""
    wanted = (BANDS + 1) ** 2 - gaussians.sh.shape[1]
    return replace(gaussians, sh=pad(gaussians.sh, (0, 0, 0, wanted)), sh_degree=BANDS)


def matrix_to_quat(rotation: Tensor) -> Tensor:
    """(4,) wxyz unit quaternion of a rotation (3, 3): the eigenvector of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    k = torch.tensor(
        [[a + e + i, h - f, c - g, d - b], [h - f, a - e - i, b + d, c + g],
         [c - g, b + d, e - a - i, f + h], [d - b, c + g, f + h, i - a - e]],
        dtype=torch.float64,
    )  # fmt: skip
    quat = torch.linalg.eigh(k).eigenvectors[:, -1]
    # A quarter turn's numbers are these, not their neighbours.
    for exact in (quat.round(), quat.sign() * (2 * quat.square()).round().div(2).sqrt()):
        if (exact - quat).abs().max() < 1e-12:
            quat = exact
    return quat * (1.0 if quat[quat.abs().argmax()] > 0 else -1.0)


def _axis(direction: Tensor) -> Tensor:
    k = int(direction.abs().argmax())
    nearest = torch.zeros_like(direction)
    nearest[k] = direction[k].sign()
    return nearest if direction[k].abs() > NEAR * direction.norm() else direction
