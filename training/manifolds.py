"""Steps of Riemannian Adam (Becigneul and Ganea 2019), taken by geoopt; its state is ours."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from geoopt.optim import RiemannianAdam


def sphere_step(
    param: nn.Parameter, exp_avg: Tensor, exp_avg_sq: Tensor, *, lr: float, step: int
) -> None:
    """Move `param` (..., D), whose last axis has unit length, along the sphere, downhill.

    `exp_avg` and `exp_avg_sq`, of the same shape, are the moments after `step` steps. All three
    change in place: the first moment is carried to the new point, the second holds one number per
    point.
    """
    adam = _sphere_adam()([param], lr=lr)  # for one step: rows may come and go between two
    adam.state[param] = {"step": step, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    adam.step()


STEPS = {"sphere": sphere_step}


@cache
def _sphere_adam() -> type[RiemannianAdam]:
    from geoopt import Sphere  # takes a second, which most methods need not wait for
    from geoopt.optim import RiemannianAdam

    class SphereAdam(RiemannianAdam):
        # Where geoopt puts a parameter of another type than its own.
        _default_manifold = Sphere()

    return SphereAdam
