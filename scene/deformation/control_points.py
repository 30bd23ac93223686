"""Control points: places that move along splines, and Gaussians that ride on the nearest of them
(sparse control as in Huang et al., "SC-GS", CVPR 2024, section 3.2; splines, not its MLP)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from utils.gather import gather_rows
from utils.rotations import axis_angle_to_quats, compose, quats_to_matrices

MOVE, TURN, GROW = slice(0, 3), slice(3, 6), slice(6, 7)  # of a knot's numbers
N_NUMBERS = 7  # of a knot: move, world units; turn, tangents of half angles; log of the growth
DEGREE = 3
N_SAMPLES = 16  # moments at which two trajectories are compared


def span(time: float, n_knots: int) -> tuple[int, list[float]]:
    """The first of the four knots that shape a uniform cubic B-spline at `time` in [0, 1], and
    their weights."""
    place = min(max(time, 0.0), 1.0) * (n_knots - DEGREE)
    first = min(int(place), n_knots - DEGREE - 1)
    u = place - first
    weights = [
        (1 - u) ** 3,
        3 * u**3 - 6 * u**2 + 4,
        -3 * u**3 + 3 * u**2 + 3 * u + 1,
        u**3,
    ]
    return first, [weight / 6 for weight in weights]


def at(knots: Tensor, time: float) -> Tensor:
    """Splines (P, M, C) of P points at a time: (P, C)."""
    first, weights = span(time, knots.shape[1])
    return sum(weight * knots[:, first + k] for k, weight in enumerate(weights))


def widened(knots: Tensor, known: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Where only the knots `known` (first, last) have learned anything, let the motion go on
    straight ahead to those `wanted`, and rest from there on; changes `knots` (P, M, C)."""
    first, last = known
    while first > wanted[0]:
        first -= 1
        knots[:, : first + 1] = (2 * knots[:, first + 1] - knots[:, first + 2])[:, None]
    while last < wanted[1]:
        last += 1
        knots[:, last:] = (2 * knots[:, last - 1] - knots[:, last - 2])[:, None]


def bend(knots: Tensor, n_knots: int) -> Tensor:
    """Mean square of the acceleration over some knots of splines that have `n_knots` over the
    clip; 1 is a second difference of 1 where there are 24."""
    scale = (n_knots / 24) ** 2
    return (scale * knots.diff(n=2, dim=1)).square().sum(2).mean()


def unrest(knots: Tensor, rest: float) -> Tensor:
    """Mean of log(1 + speed / `rest`) over points and time, speeds per clip.

    Its pull is strong on what hardly moves and fades on what moves fast: the rest of a scene
    stays at rest, and its movers are not held back.
    """
    speed = (knots.diff(dim=1).square().sum(2) + 1e-10).sqrt() * knots.shape[1]
    return torch.log1p(speed / rest).mean()


def trajectories(means: Tensor, knots: Tensor) -> Tensor:
    """(P, `N_SAMPLES`, 3) places over the clip of points that rest at `means` (P, 3)."""
    times = torch.linspace(0, 1, N_SAMPLES).tolist()
    return torch.stack([means + at(knots[..., MOVE], time) for time in times], dim=1)


def apart(means: Tensor, knots: Tensor) -> Tensor:
    """(P, P) how far two points are from each other at worst over the clip (SC-GS, eq. 9, takes
    the sum): things that only touch once are no neighbours."""
    paths = trajectories(means, knots)
    return (paths[:, None] - paths[None]).norm(dim=-1).amax(-1)


def motions(anchors: Tensor, knots: Tensor, time: float, rest: float) -> dict[str, Tensor]:
    """Similarities of control points that are at `anchors` (P, 3) at the time `rest`: "move" (P,
    3), "quats" (P, 4), "grow" (P, 1) log of the growth."""
    now, then = at(knots, time), at(knots[..., MOVE], rest)
    ones = torch.ones_like(now[:, :1])
    return {
        "move": now[:, MOVE] - then,
        "quats": normalize(torch.cat([ones, now[:, TURN]], dim=1), dim=1),
        "grow": now[:, GROW],
    }


def things(apart: Tensor, within: float) -> Tensor:
    """(P,) int64 the same number for points that hang together: each is nearer than `within` to
    another of its thing, by distances (P, P)."""
    linked = apart < within
    linked.fill_diagonal_(True)
    numbers = torch.arange(len(apart), device=apart.device)
    while True:
        lowest = torch.where(linked, numbers, len(apart)).amin(1)
        if torch.equal(lowest, numbers):
            return numbers
        numbers = lowest


def spun(
    anchors: Tensor,
    motion: dict[str, Tensor],
    thing: Tensor,
    share: Tensor,
    spin: Tensor,
    since: float,
) -> dict[str, Tensor]:
    """Motions of the points of things that spin: each thing is one body, which goes where its
    points go in the mean, turns and grows as they do in the mean, and then turns about its middle.

    thing: (P,) int64 below P, whose point it is; share: (P, 1) its part in the mean, sums of 1;
    spin: (P, 3) of its thing about a fixed axis, radians per clip; points of things that have none
    move as they do. since: clips since the moment at which the points are at their anchors (P, 3).
    """

    def mean(values: Tensor) -> Tensor:
        return torch.zeros_like(values).index_add(0, thing, share * values)[thing]

    rest, shift = mean(anchors), mean(motion["move"])
    quats = compose(axis_angle_to_quats(since * spin), normalize(mean(motion["quats"]), dim=1))
    grow = mean(motion["grow"])
    turned = grow.exp()[:, :, None] * quats_to_matrices(quats) @ (anchors - rest)[:, :, None]
    body = {"move": rest + shift + turned[:, :, 0] - anchors, "quats": quats, "grow": grow}
    spins = spin.any(1, keepdim=True)
    return {name: torch.where(spins, body[name], motion[name]) for name in motion}


def ride(
    columns: dict[str, Tensor],
    nearest: Tensor,
    weights: Tensor,
    anchors: Tensor,
    motion: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Raw columns moved by the blend of what their control points do (linear blend skinning of
    similarities).

    nearest: (N, K) int64 the control points of each row; weights: (N, K), sum 1. A row at x goes
    to the mean of s R (x - a) + a + m over its points; its quaternion and its log-scales follow.
    """
    quats, grow = motion["quats"], motion["grow"]
    eye = torch.eye(3, dtype=quats.dtype, device=quats.device)
    linear = quats_to_matrices(quats) * grow.exp()[:, :, None] - eye  # (P, 3, 3)
    shift = motion["move"] - (linear @ anchors[:, :, None])[:, :, 0]
    packed = torch.cat([linear.flatten(1), shift, quats, grow], dim=1)
    blend = (gather_rows(packed, nearest) * weights[:, :, None]).sum(1)
    means = columns["means"]
    turned = (blend[:, :9].unflatten(1, (3, 3)) @ means[:, :, None])[:, :, 0]
    return {
        **columns,
        "means": means + turned + blend[:, 9:12],
        "quats": compose(blend[:, 12:16], columns["quats"]),
        "log_scales": columns["log_scales"] + blend[:, 16:],
    }


def rigidity(
    anchors: Tensor, one: dict[str, Tensor], other: dict[str, Tensor], nearest: Tensor, near: Tensor
) -> tuple[Tensor, Tensor]:
    """How far neighbours are from moving as one rigid body between two moments (Sorkine and Alexa,
    "As-rigid-as-possible surface modeling", SGP 2007; SC-GS, eq. 8), mean squares: of their edges,
    world units; of the differences of their turns and growths.

    nearest: (P, K) int64 neighbours; near: (P, K) their weights.
    """
    places = [anchors + motion["move"] for motion in (one, other)]
    edges, moved = (gather_rows(place, nearest) - place[:, None] for place in places)
    turn = quats_to_matrices(other["quats"]) @ quats_to_matrices(one["quats"]).mT
    turn = turn * (other["grow"] - one["grow"]).exp()[:, :, None]
    carried = (turn[:, None] @ edges[..., None])[..., 0]
    stretch = (near * (carried - moved).square().sum(-1)).mean()
    unlike = sum(
        (near * (gather_rows(one[name], nearest) - one[name][:, None]).square().sum(-1)).mean()
        for name in ("quats", "grow")
    )
    return stretch, unlike
