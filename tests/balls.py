"""Balls that spin, drawn by casting rays, without a Gaussian."""

import math

import torch

from scene.cameras import Camera
from utils.rotations import axis_angle_to_matrices

SIDE, RADIUS, N_LOOKS = 64, 0.4, 60
K = torch.tensor([[96.0, 0, SIDE / 2], [0, 96.0, SIDE / 2], [0, 0, 1]])


def camera(k):
    """One of seven around, three units from the origin, some from above."""
    angle = torch.tensor(2 * math.pi * (3 * k % 7) / 7)
    height = 0.25 * (k % 3)
    forward = -torch.stack([angle.cos(), angle.sin(), torch.tensor(height)])
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]))
    right = right / right.norm()
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    c2w[:3, 3] = -3 * forward
    return Camera.from_opencv_c2w(c2w, K, SIDE, SIDE)


def centre(time):
    return torch.tensor([0.3 * math.cos(5 * time), 0.3 * math.sin(5 * time), 0.1])


def picture(k, time, turn, pattern, middle):
    """(3, SIDE, SIDE) of the ball on white, its surface lit from above."""
    view = camera(k)
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    rays = torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], -1)
    rays = torch.nn.functional.normalize(rays @ view.viewmat[:3, :3], dim=-1)
    away = view.center - middle
    half = (rays * away).sum(-1)
    root = half.square() - away.square().sum() + RADIUS**2
    normals = (away + (-half - root.clamp(min=0).sqrt())[..., None] * rays) / RADIUS
    body = normals @ axis_angle_to_matrices(turn * (time - 0.5))  # the transpose turns back
    light = 0.6 + 0.4 * normals[..., 2]
    return torch.where(root > 0, light * pattern(body), torch.tensor(1.0)).expand(3, -1, -1)


def patches(body):
    """Light and dark ones some twenty degrees wide."""
    return 0.5 + 0.4 * torch.sign(torch.sin(8 * body + 1).prod(-1))


def plain(body):
    return torch.full(body.shape[:-1], 0.6)
