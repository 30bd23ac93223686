"""Kernels as PyTorch operators: a body per device, shapes for tracing, gradients for autograd.

`torch.library.custom_op` would do, but its first call imports torch._dynamo, which costs every
process a second. This is the one module of the package that needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Body = Callable[..., Any]
Widths = Sequence[int | None]  # of lists among arguments; None for an argument that is none
PLAIN = (Tensor, torch.nn.Parameter)  # other kinds of tensors are somebody else's to interpret


class Operators:
    """The operators of one namespace; they live as long as this object."""

    def __init__(self, namespace: str):
        self._library = torch.library.Library(namespace, "DEF")

    def define(
        self,
        schema: str,
        *,
        cpu: Body,
        fake: Body,
        cuda: Body | None = None,
        keep: Body | None = None,
        differentiate: Body | None = None,
    ) -> Operator:
        """The operator of `schema`, "name(Tensor a, ...) -> Tensor". The first argument is a tensor
        or a list of tensors, and says by its device which body runs.

        cpu, cuda: its bodies. fake: returns empty tensors of the result's shapes, for tracing.
        keep(ctx, inputs, output), differentiate(ctx, *grads): as `torch.library.register_autograd`
        takes them; without them a backward pass through the operator is a RuntimeError. One that
        changes its arguments has no gradients.
        """
        name = self._library.define(schema)
        whole = f"{self._library.ns}::{name}"
        bodies = {"cpu": cpu} if cuda is None else {"cpu": cpu, "cuda": cuda}
        for device, body in bodies.items():
            self._library.impl(name, body, device.upper())
        torch.library.register_fake(whole, fake, lib=self._library)
        if "!" in schema:
            differentiate = None
        else:
            differentiate = differentiate or _refusal(whole)
            torch.library.register_autograd(
                whole, differentiate, setup_context=keep, lib=self._library
            )
        overload = getattr(getattr(torch.ops, self._library.ns), name).default
        listed = schema.endswith("-> Tensor[]")
        return Operator(overload, bodies, keep, differentiate, listed=listed)


class Operator:
    """An operator as a function. On plain tensors its body runs at once: what PyTorch puts before
    it takes 30 us, and 40 in the backward pass, as long as a small kernel.

    overload: the same as compilers, tracers and fake tensors see it.
    """

    def __init__(
        self,
        overload: torch._ops.OpOverload,
        bodies: Mapping[str, Body],
        keep: Body | None,
        differentiate: Body | None,
        *,
        listed: bool,
    ) -> None:
        self.overload, self._bodies = overload, bodies
        self.keep, self.differentiate, self.listed = keep, differentiate, listed

    def __call__(self, *inputs: Any) -> Any:
        first = inputs[0] if isinstance(inputs[0], Tensor) else inputs[0][0]
        body = self._bodies.get(first.device.type)
        if body is None or type(first) not in PLAIN or _somebody_looks():
            return self.overload(*inputs)
        if self.differentiate is None or not torch.is_grad_enabled():
            with torch.no_grad():
                return body(*inputs)
        widths = [len(value) if isinstance(value, list) else None for value in inputs]
        made = _Differentiable.apply(self, body, inputs, widths, *_spread(inputs, widths))
        return list(made) if self.listed else made


class _Differentiable(torch.autograd.Function):
    """A body with the gradients of its operator. The elements of lists are arguments of their own,
    as autograd looks into no list; `widths`: how many, None for what is no list."""

    @staticmethod
    def forward(ctx, operator: Operator, body: Body, inputs: Sequence[Any], widths: Widths, *flat):
        output = body(*inputs)
        ctx.operator, ctx.widths, ctx.kept = operator, widths, _Kept()
        if operator.keep is not None:
            operator.keep(ctx.kept, inputs, output)
        ctx.save_for_backward(*ctx.kept.saved_tensors)
        ctx.set_materialize_grads(ctx.kept.materialize)
        ctx.kept.saved_tensors = ()  # autograd's copies say when one was changed since
        return tuple(output) if operator.listed else output

    @staticmethod
    def backward(ctx, *grads: Tensor | None):
        operator, kept = ctx.operator, ctx.kept
        kept.saved_tensors = ctx.saved_tensors
        kept.needs_input_grad = _gathered(ctx.needs_input_grad[4:], ctx.widths)
        found = operator.differentiate(kept, *([list(grads)] if operator.listed else grads))
        kept.saved_tensors = ()
        found = found if isinstance(found, tuple) else (found,)
        return None, None, None, None, *_spread(found, ctx.widths)


class _Kept:
    """What `keep` and `differentiate` are given as ctx."""

    saved_tensors: Sequence[Tensor] = ()
    needs_input_grad: Sequence[bool | list[bool]] = ()
    materialize = True

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self.materialize = value


def _spread(values: Sequence[Any], widths: Widths) -> list[Any]:
    """The values, and the elements of those that are lists."""
    flat: list[Any] = []
    for value, width in zip(values, widths, strict=True):
        if width is None:
            flat.append(value)
        else:
            flat += [None] * width if value is None else value
    return flat


def _gathered(flat: Sequence[Any], widths: Widths) -> list[Any]:
    """What `_spread` was given."""
    found, at = [], 0
    for width in widths:
        found.append(flat[at] if width is None else list(flat[at : at + width]))
        at += 1 if width is None else width
    return found


def _somebody_looks() -> bool:
    """Whether a compiler, a tracer or fake tensors want to see which operators are called."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def _refusal(name: str) -> Body:
    def refuse(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(f"{name} has no derivative")

    return refuse
