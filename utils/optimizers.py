"""The optimizers of a stage: Adam over named parameter groups whose tensors may change length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utils.schedules import Schedule

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a learning-rate schedule; `params` is asked anew for every stage."""

    name: str
    params: Callable[[], Iterable[nn.Parameter]]
    lr: Schedule


class Optimizers:
    """Adam (eps 1e-15, as in 3DGS: gradients of a Gaussian may be tiny) over named groups."""

    def __init__(self, groups: list[ParamGroup], state: Mapping[str, Tensor] | None = None) -> None:
        self.schedules = {group.name: group.lr for group in groups}
        rows = [
            {"params": list(group.params()), "lr": group.lr(1), "name": group.name} for group in groups
        ]
        self.adam = torch.optim.Adam([row for row in rows if row["params"]], eps=1e-15, fused=True)
        self._load_state(state or {})

    def set_learning_rates(self, step: int) -> None:
        for group in self.adam.param_groups:
            group["lr"] = self.schedules[group["name"]](step)

    def step(self) -> None:
        """Update every parameter that has a gradient, then drop the gradients."""
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def replace(self, old: nn.Parameter, new: nn.Parameter, kept: Tensor) -> None:
        """Let `new` take the place of `old`: moments of the rows `kept` come first, then zeros."""
        for group in self.adam.param_groups:
            group["params"] = [new if p is old else p for p in group["params"]]
        state = self.adam.state.pop(old, None)
        if state:
            for moment in MOMENTS:
                rows = state[moment][kept]
                state[moment] = torch.cat([rows, rows.new_zeros(len(new) - len(rows), *rows.shape[1:])])
            self.adam.state[new] = state

    def zero_moments(self, param: nn.Parameter) -> None:
        for moment in MOMENTS:
            if param in self.adam.state:
                self.adam.state[param][moment].zero_()

    def state(self) -> dict[str, Tensor]:
        """All moments and step counts by group name and position: `opacity.0.exp_avg`."""
        return {
            f"{group['name']}.{k}.{key}": value
            for group in self.adam.param_groups
            for k, param in enumerate(group["params"])
            for key, value in self.adam.state.get(param, {}).items()
        }

    def _load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned; the parameters must have their saved sizes."""
        for group in self.adam.param_groups:
            for k, param in enumerate(group["params"]):
                prefix = f"{group['name']}.{k}."
                found = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
                if found:
                    self.adam.state[param] = found
