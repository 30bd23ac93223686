"""The optimizers of a stage: Adam over named parameter groups whose tensors may change length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from fused_fields import adam_step, sphere_step
from torch import Tensor, nn

from scene.gaussian_model import rows_after
from training.schedules import Schedule
from utils.heap import hand_back

EPS = 1e-15  # as in 3DGS: gradients of a Gaussian may be tiny
ROWS = ("all", "drawn", "touched")
# Name of a manifold -> a step of Riemannian Adam (Becigneul and Ganea 2019) of a parameter on it.
STEPS = {"sphere": sphere_step}


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a learning-rate schedule; `params` is asked anew for every stage."""

    name: str
    params: Callable[[], Iterable[nn.Parameter]]
    lr: Schedule
    # that a step moves: all; "drawn" by a view; "touched": their gradient is not 0
    rows: str = "all"
    manifold: str | None = None  # where the last axis stays: a name in `STEPS`
    keeps_moments: bool = True  # when rows come or go; otherwise all rows start afresh then

    def __post_init__(self) -> None:
        if self.manifold is not None and self.manifold not in STEPS:
            raise ValueError(
                f"group {self.name}: no manifold {self.manifold!r}; there is {', '.join(STEPS)}"
            )
        if self.rows not in ROWS or (self.manifold is not None and self.rows != "all"):
            raise ValueError(
                f"group {self.name}: rows is {self.rows!r}; there is {', '.join(ROWS)}, and on "
                "a manifold all rows step"
            )


@dataclass
class Moments:
    """What Adam remembers of a parameter."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: int = 0


@dataclass
class Group:
    """A `ParamGroup` in use."""

    spec: ParamGroup
    params: list[nn.Parameter]
    lr: float

    @property
    def name(self) -> str:
        return self.spec.name


class Optimizers:
    """Adam (Kingma and Ba 2015) over named groups: one fused step, and one of its own for each
    group on a manifold (Becigneul and Ganea 2019)."""

    def __init__(self, groups: list[ParamGroup], state: Mapping[str, Tensor] | None = None) -> None:
        if len({spec.name for spec in groups}) < len(groups):
            raise ValueError(f"groups of one name: {', '.join(spec.name for spec in groups)}")
        found = [Group(spec, list(spec.params()), spec.lr(1)) for spec in groups]
        self.groups = [group for group in found if group.params]
        for param in (param for group in self.groups for param in group.params):
            param.grad = None  # of a stage that did not train it: no checkpoint knows it
        self.moments: dict[nn.Parameter, Moments] = {}
        self._resized = False  # since the last step
        self._load_state(state or {})

    def set_learning_rates(self, step: int) -> None:
        for group in self.groups:
            group.lr = group.spec.lr(step)

    def step(self, drawn: Tensor | None = None) -> None:
        """Update every parameter that has a gradient, then drop the gradients.

        Where `drawn` (N,) bool is given, the other rows of groups that say so keep their values and
        moments: they cost nothing, and their moments do not fade. It is ignored where rows came or
        went since the last step: it no longer says which.
        """
        resized, self._resized = self._resized, False
        if resized:
            drawn = None
        whole = []
        for group in self.groups:
            rows = group.spec.rows
            if group.spec.manifold is not None:
                self._update_on_manifold(group)
            elif rows == "touched":
                for param in group.params:
                    self._update([(param, group.lr)], _touched(param))
            elif rows == "drawn" and drawn is not None:
                self._update([(param, group.lr) for param in group.params], drawn)
            else:
                whole += [(param, group.lr) for param in group.params]
        self._update(whole, None)
        if resized:
            hand_back()

    def replace(self, old: nn.Parameter, new: nn.Parameter, kept: Tensor) -> None:
        """Let `new` take the place of `old`: moments of the rows `kept` come first, then zeros."""
        keeps = self._resized = True
        for group in self.groups:
            keeps &= group.spec.keeps_moments or all(p is not old for p in group.params)
            group.params = [new if p is old else p for p in group.params]
        found = self.moments.pop(old, None)
        if found and keeps:  # one after the other: the old one goes before the next one comes
            born = new.new_zeros(len(new) - len(kept), *new.shape[1:])
            found.exp_avg = rows_after(found.exp_avg, kept, born)
            found.exp_avg_sq = rows_after(found.exp_avg_sq, kept, born)
            self.moments[new] = found

    def zero_moments(self, param: nn.Parameter) -> None:
        if found := self.moments.get(param):
            found.exp_avg.zero_()
            found.exp_avg_sq.zero_()

    def state(self) -> dict[str, Tensor]:
        """All moments and step counts by group name and position: `opacity.0.exp_avg`."""
        state = {}
        for group in self.groups:
            for k, param in enumerate(group.params):
                if found := self.moments.get(param):
                    state[f"{group.name}.{k}.exp_avg"] = found.exp_avg
                    state[f"{group.name}.{k}.exp_avg_sq"] = found.exp_avg_sq
                    state[f"{group.name}.{k}.step"] = torch.tensor(float(found.step))
        return state

    @torch.no_grad()
    def _update(self, rates: list[tuple[nn.Parameter, float]], rows: Tensor | None) -> None:
        rates = [(param, lr) for param, lr in rates if param.grad is not None]
        params = [param for param, _ in rates]
        found = [self._moments(param) for param in params]
        for moments in found:
            moments.step += 1
        adam_step(
            params,
            [param.grad for param in params],
            [moments.exp_avg for moments in found],
            [moments.exp_avg_sq for moments in found],
            lr=[lr for _, lr in rates],
            step=[moments.step for moments in found],
            eps=EPS,
            rows=rows,
        )
        for param in params:
            param.grad = None

    def _update_on_manifold(self, group: Group) -> None:
        for param in group.params:
            if param.grad is not None:
                moments = self._moments(param)
                moments.step += 1
                STEPS[group.spec.manifold](
                    param, param.grad, moments.exp_avg, moments.exp_avg_sq, lr=group.lr,
                    step=moments.step,
                )  # fmt: skip
                param.grad = None

    def _moments(self, param: nn.Parameter) -> Moments:
        found = self.moments.get(param)
        if found is None:
            found = Moments(torch.zeros_like(param), torch.zeros_like(param))
            self.moments[param] = found
        return found

    def _load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned; the parameters must have their saved sizes."""
        for group in self.groups:
            for k, param in enumerate(group.params):
                prefix = f"{group.name}.{k}."
                if f"{prefix}step" in state:
                    self.moments[param] = Moments(
                        state[f"{prefix}exp_avg"],
                        state[f"{prefix}exp_avg_sq"],
                        int(state[f"{prefix}step"]),
                    )


def _touched(param: nn.Parameter) -> Tensor | None:
    """(N,) rows that the gradient reaches."""
    return None if param.grad is None else (param.grad != 0).reshape(len(param), -1).any(1)
