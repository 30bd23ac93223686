"""Kernels as PyTorch operators: a body per device, shapes for tracing, gradients for autograd.

`torch.library.custom_op` would do, but its first call imports torch._dynamo, which costs every
process a second. This is the one module of the package that needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Body = Callable[..., Any]


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
    ) -> torch._ops.OpOverload:
        """The operator of `schema`, "name(Tensor a, ...) -> Tensor".

        cpu, cuda: its bodies. fake: returns empty tensors of the result's shapes, for tracing.
        keep(ctx, inputs, output), differentiate(ctx, *grads): as `torch.library.register_autograd`
        takes them; without them a backward pass through the operator is a RuntimeError. One that
        changes its arguments has no gradients.
        """
        name = self._library.define(schema)
        whole = f"{self._library.ns}::{name}"
        self._library.impl(name, cpu, "CPU")
        if cuda is not None:
            self._library.impl(name, cuda, "CUDA")
        torch.library.register_fake(whole, fake, lib=self._library)
        if "!" not in schema:
            torch.library.register_autograd(
                whole, differentiate or _refusal(whole), setup_context=keep, lib=self._library
            )
        return getattr(getattr(torch.ops, self._library.ns), name).default


def _refusal(name: str) -> Body:
    def refuse(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(f"{name} has no derivative")

    return refuse
