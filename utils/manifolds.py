"""Steps of Riemannian Adam (Becigneul and Ganea 2019), taken by geoopt, whose state is ours to keep."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from geoopt import Sphere


@cache
def _sphere() -> Sphere:
    from geoopt import Sphere  # takes a second, which most methods need not wait for

    return Sphere()


def sphere_step(
    param: nn.Parameter, exp_avg: Tensor, exp_avg_sq: Tensor, *, lr: float, step: int
) -> None:
    """Move `param` (..., D), whose last axis has unit length, along the sphere, in place.

    `exp_avg` and `exp_avg_sq`, of the same shape, are the moments after `step` steps. They change in
    place too: the first is carried to the new point, the second holds one number per point.
    """
    from geoopt import ManifoldParameter
    from geoopt.optim import RiemannianAdam

    # A plain Parameter would be taken for a flat one: geoopt looks at the type. This one shares the
    # memory of `param` and lives for a step, so that rows may come and go between two.
    point = ManifoldParameter(param.detach(), manifold=_sphere())
    point.grad = param.grad
    adam = RiemannianAdam([point], lr=lr)
    adam.state[point] = {"step": step, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    adam.step()


STEPS = {"sphere": sphere_step}
