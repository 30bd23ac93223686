"""An avatar that somebody else's face moves: performances become frames of a trained model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from capture.drivers import Performance
from capture.fit import JAW
from scene.facts import SceneFacts, Statistics
from scene.frames import NO_ROW, Frame
from utils.errors import InputError
from utils.rotations import axis_angle_to_matrices

# A range that a training video hardly left is no range to hold a driver in.
LEAST = 0.02


class Puppet:
    """Turns one moment after the other into frames of the avatar of `facts`.

    The mean of the driver is replaced by the avatar's own, in expressions, jaw, gaze and the head's
    turn, and all is held in the training range.
    """

    def __init__(
        self,
        facts: SceneFacts,
        rest: tuple[Tensor, Tensor],
        neck: Tensor,
        *,
        subtract_mean: bool = True,
        clamp: bool = True,
    ) -> None:
        """`rest` is the driver's mean expression (E,) and pose (15,), `neck` (3,) where the
        avatar's neck joint is at rest, in the world's units."""
        if "expression" not in facts.conditions:
            raise InputError(
                "the model knows no expressions, so nothing can drive it; train a head dataset"
            )
        wanted = len(facts.conditions["expression"].mean)
        if wanted != len(rest[0]):
            raise InputError(
                f"the driver gives {len(rest[0])} expression coefficients, the avatar was trained "
                f"on {wanted}; it needs an avatar made by scripts/make_avatar.py with the same "
                "head model"
            )
        self.facts, self.rest, self.neck = facts, rest, neck
        self.subtract_mean, self.clamp = subtract_mean, clamp
        self.base = facts.shown[0]

    def frame(self, expression: Tensor, pose: Tensor, time: float = 0.0) -> Frame:
        """The avatar making the moment's face before its own camera."""
        conditions, base = self.facts.conditions, self.base
        value = self._held(expression, self.rest[0], conditions["expression"])
        frame = replace(base, expression=value, time=time, index=NO_ROW)
        if base.flame_pose is None or "flame_pose" not in conditions:
            return frame
        own = self._held(pose, self.rest[1], conditions["flame_pose"])
        frame = replace(frame, flame_pose=own)
        moved = torch.linalg.inv(self._stands(base.flame_pose)) @ self._stands(own)
        if base.head_to_world is not None:
            return replace(frame, head_to_world=base.head_to_world @ moved)
        # The head is the world: the camera moves about it, and the body stays before the camera.
        camera = replace(base.camera, viewmat=base.camera.viewmat @ moved)
        body = base.body_to_world
        body = None if body is None else torch.linalg.inv(moved) @ body
        return replace(frame, camera=camera, body_to_world=body)

    def _held(self, value: Tensor, foreign: Tensor, own: Statistics) -> Tensor:
        value = value - foreign + own.mean if self.subtract_mean else value
        if not self.clamp:
            return value
        room = torch.full_like(own.low, LEAST)
        return value.clamp(
            torch.minimum(own.low, own.mean - room), torch.maximum(own.high, own.mean + room)
        )

    def _stands(self, pose: Tensor) -> Tensor:
        """(4, 4) the turn of the head about its neck."""
        root, neck = axis_angle_to_matrices(pose[:JAW].reshape(2, 3))
        turn = root @ neck
        place = torch.eye(4)
        place[:3, :3] = turn
        place[:3, 3] = self.neck - turn @ self.neck
        return place


def resting(performance: Performance) -> tuple[Tensor, Tensor]:
    """The mean expression (E,) and pose (15,) of a whole performance."""
    return performance.expression.mean(0), performance.pose.mean(0)
