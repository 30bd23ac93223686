"""The body under a talking head: it neither moves with the head nor stands still.

A head dataset's world is the head's own frame, so the camera moves with the head and the shoulders
would have to stay before it. Registered in the pictures of a real speaker, the torso's place is a
linear function of the six numbers of the head's pose (R² 0.93 and 0.96 on held-out frames), which a
flexible one extrapolates worse: hence one matrix, and one weight per Gaussian, as in linear blend
skinning with two bones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from fused_fields import carry
from torch import Tensor, nn

from scene.frames import head_motion
from scene.regions import chin
from utils.rotations import matrices_to_quats, twist_to_pose

COLUMN = "body_logits"  # of a table: (N, 1), the weight of the body, 0 the head's, as a logit
SURE = 4.0  # logit of what is far from the chin
SOFT = 0.55  # of the mouth box's height: how far above and below the chin the weights change


class BodyPart(nn.Module):
    """A body whose motion is linear in the head's: exp(A p) on top of standing still.

    p are the six numbers of `head_motion`, standardised; A (6, 6) is dimensionless and zero at
    first. What A gives is in the spread of the head's own turns and shifts, so that an A of the
    size of 1 moves the body as far as the head.
    """

    def __init__(self, mean: Tensor, spread: Tensor, mouth: Tensor) -> None:
        """`mean` and `spread` (6,) are those of `head_motion` over the training frames, `mouth` (2,
        3) is the lowest and highest corner of its box in the head's frame, y up."""
        super().__init__()
        self.law = nn.Parameter(torch.zeros(6, 6))
        turn, shift = (part.square().mean().sqrt() for part in spread.split(3))
        self.register_buffer("mean", mean.clone())
        self.register_buffer("factor", torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), 0))
        self.register_buffer("unit", torch.stack([turn, shift]).repeat_interleave(3))
        self.chin, self.soft = chin(mouth), SOFT * float(mouth[1, 1] - mouth[0, 1])

    def start(self, means: Tensor) -> Tensor:
        """(N, 1) first logits, by how far rows (N, 3) of the head's frame are below the chin."""
        return SURE * ((self.chin - means[:, 1:2]) / self.soft).tanh()

    def motion(self, body_to_world: Tensor) -> Tensor:
        """(4, 4) how the body moved, in the world, from where a body at rest stands."""
        p = (head_motion(body_to_world) - self.mean) * self.factor
        return body_to_world @ twist_to_pose(self.unit * (self.law @ p))

    def forward(self, columns: Mapping[str, Tensor], body_to_world: Tensor) -> dict[str, Tensor]:
        """The posed columns, each row carried as far as its weight says."""
        moved = self.motion(body_to_world).to(columns["means"])
        still = torch.eye(4, dtype=moved.dtype, device=moved.device)
        turn = matrices_to_quats(moved[:3, :3])
        turn = turn * torch.where(turn[0] < 0, -1.0, 1.0)  # the shorter way round
        means, quats = carry(
            columns["means"], columns["quats"], columns[COLUMN], (moved - still)[:3],
            turn - still[0],
        )  # fmt: skip
        return {**columns, "means": means, "quats": quats}
