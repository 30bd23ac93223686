"""Adam (Kingma and Ba 2015) in one pass over the numbers, for all rows or for those that
appeared."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import _native, reference


@torch.no_grad()
def adam_step(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    lr: float | Sequence[float],
    step: int | Sequence[int],
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    rows: Tensor | None = None,
) -> None:
    """One step of `params` and their moments, in place, by the rule of `torch.optim.Adam`.

    lr: learning rate, one for all tensors or one for each. step: the number of this step, counted
    from 1, likewise; it corrects the moments for having started at zero.

    rows: bool "N". All tensors then have N rows, and those where it is False keep parameter and
    moments, whatever their gradients say: a row that no view of the step drew does not drift on
    what it learned before, and its moments do not fade (Taming 3DGS, Mallick et al. 2024). `step`
    still counts steps, not how often a row appeared, as in `torch.optim.SparseAdam`. On the CPU
    this takes as long as a step of all rows; rows are left out for what it does, not for time.

    Params and moments have to be contiguous. There is no weight decay and no AMSGrad. Raises
    ValueError or TypeError naming the tensor that does not fit.
    """
    rates, steps = _each(lr, params, "lr"), _each(step, params, "step")
    _check(params, grads, exp_avgs, exp_avg_sqs, steps, rows)
    if not params:
        return
    columns = [list(params), [g.contiguous() for g in grads], list(exp_avgs), list(exp_avg_sqs)]
    rates = [rate / (1 - betas[0] ** count) for rate, count in zip(rates, steps, strict=True)]
    spreads = [1 / math.sqrt(1 - betas[1] ** count) for count in steps]
    run = _step if _native.runs_on(params) else reference.adam_step
    run(*columns, None if rows is None else rows.contiguous(), rates, spreads, list(betas), eps)
    for tensor in (*params, *exp_avgs, *exp_avg_sqs):
        torch.autograd.graph.increment_version(tensor)  # autograd refuses what it kept of them


def _each(value: float | Sequence[float], params: Sequence[Tensor], name: str) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * len(params)
    if len(values) != len(params):
        raise ValueError(f"{name} has {len(values)} values for {len(params)} params")
    return values


def _check(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    steps: Sequence[int],
    rows: Tensor | None,
) -> None:
    lists = {"params": params, "grads": grads, "exp_avgs": exp_avgs, "exp_avg_sqs": exp_avg_sqs}
    dtype, device = (params[0].dtype, params[0].device) if params else (None, None)
    for name, tensors in lists.items():
        if len(tensors) != len(params):
            raise ValueError(f"{name} has {len(tensors)} tensors for {len(params)} params")
        for k, (tensor, param) in enumerate(zip(tensors, params, strict=True)):
            if tensor.shape != param.shape or tensor.dtype != dtype or tensor.device != device:
                raise _misfit(f"{name}[{k}]", tensor, param, params[0])
            if name != "grads" and not tensor.is_contiguous():
                raise ValueError(f"{name}[{k}] has to be contiguous to be updated in place")
    if any(step < 1 for step in steps):
        raise ValueError(f"step is {min(steps)}; steps count from 1")
    if rows is None:
        return
    if rows.dtype != torch.bool or rows.ndim != 1 or any(p.device != rows.device for p in params):
        raise ValueError(
            f"rows is {rows.dtype} {tuple(rows.shape)} on {rows.device}; expected bool (N,)"
        )
    for k, param in enumerate(params):
        if param.shape[:1] != rows.shape:
            raise ValueError(
                f"params[{k}] has shape {tuple(param.shape)} and rows {len(rows)} values"
            )


def _misfit(name: str, tensor: Tensor, param: Tensor, first: Tensor) -> Exception:
    if tensor.shape != param.shape:
        return ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {tuple(param.shape)}")
    return TypeError(
        f"{name} is {tensor.dtype} on {tensor.device} and params[0] is {first.dtype} "
        f"on {first.device}; give both the same"
    )


def _step_on_cpu(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    rows: Tensor | None,
    rates: list[float],
    spreads: list[float],
    betas: list[float],
    eps: float,
) -> None:
    """rates: lr / (1 - beta1^step); spreads: 1 / sqrt(1 - beta2^step)."""
    sizes = [param.numel() for param in params]
    counts = sizes if rows is None else [len(rows)] * len(params)
    columns = (
        [x.data_ptr() for x in tensors] for tensors in (params, grads, exp_avgs, exp_avg_sqs)
    )
    row_sizes = [size // max(count, 1) for size, count in zip(sizes, counts, strict=True)]
    table = zip(*columns, counts, row_sizes, rates, spreads, strict=True)
    tensors = (_native.AdamTensor * len(params))(*table)
    whole = _native.AdamStep(tensors, len(params), *betas, eps)
    _native.call("adam_step", params[0].dtype, ctypes.addressof(whole), rows)


_step = _native.OPERATORS.define(
    "adam_step(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] exp_avgs, "
    "Tensor(c!)[] exp_avg_sqs, Tensor? rows, float[] rates, float[] spreads, float[] betas, "
    "float eps) -> ()",
    cpu=_step_on_cpu,
    cuda=_native.on_gpu("adam_step"),
    fake=lambda *arguments: None,
)
