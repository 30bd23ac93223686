"""Structural similarity of images (Wang, Bovik, Sheikh, Simoncelli 2004) with its gradient."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference

MARGIN = {"same": 0, "valid": reference.RADIUS}


def ssim(a: Tensor, b: Tensor, *, padding: str = "same") -> Tensor:
    """Mean SSIM of `a` and `b`, "C H W" or "B C H W" in [0, 1]: a scalar, 1 for equal images.

    11 x 11 Gaussian window of sigma 1.5 on each channel, C1 = 0.01^2, C2 = 0.03^2, mean over
    batch, channels and map. "same" pads with zeros and keeps H x W; "valid" keeps windows that
    lie inside the image. Gradients go to whichever of `a` and `b` require one.
    """
    if a.shape != b.shape or a.ndim not in (3, 4) or 0 in a.shape:
        raise ValueError(
            f"a and b have shapes {tuple(a.shape)} and {tuple(b.shape)}; "
            "expected both (C, H, W) or both (B, C, H, W), not empty"
        )
    if a.dtype != b.dtype or a.device != b.device or not a.is_floating_point():
        raise TypeError(
            f"a is {a.dtype} on {a.device} and b is {b.dtype} on {b.device}; "
            "expected the same floating-point type and device, values in [0, 1]"
        )
    if padding not in MARGIN:
        raise ValueError(f"padding is {padding!r}; expected 'same' or 'valid'")
    margin = MARGIN[padding]
    if margin and min(a.shape[-2:]) <= 2 * margin:
        raise ValueError(
            f"a has {a.shape[-2]} x {a.shape[-1]} pixels, less than one 11 x 11 window; "
            "use padding='same' or a larger image"
        )
    if not _native.runs_on([a, b]):
        return reference.ssim(a, b, padding=padding)
    keep = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    return _ssim(a.contiguous(), b.contiguous(), margin, keep)[0]


def _forward(a: Tensor, b: Tensor, margin: int, keep: bool) -> tuple[Tensor, Tensor]:
    """Mean SSIM, and its partial derivatives to the four windowed means when `keep`."""
    mean, partials = _empty_result(a, b, margin, keep)
    shape = _shape(a, margin)
    _native.call("ssim_forward", a.dtype, ctypes.addressof(shape), a, b, mean,
                 partials if keep else None)  # fmt: skip
    return mean, partials


def _empty_result(a: Tensor, b: Tensor, margin: int, keep: bool) -> tuple[Tensor, Tensor]:
    *lead, height, width = a.shape
    partials = [4 if keep else 0, *lead, height - 2 * margin, width - 2 * margin]
    return a.new_empty(()), a.new_empty(partials)


def _backward(
    a: Tensor, b: Tensor, partials: Tensor, scale: Tensor, margin: int, wants: list[bool]
) -> list[Tensor]:
    """Gradients of a and b; empty where not wanted."""
    grads = _empty_grads(a, b, partials, scale, margin, wants)
    shape = _shape(a, margin)
    _native.call("ssim_backward", a.dtype, ctypes.addressof(shape), a, b, partials,
                 float(scale) / partials[0].numel(),
                 *(grad if want else None for grad, want in zip(grads, wants, strict=True)),
                 )  # fmt: skip
    return grads


def _empty_grads(a: Tensor, b: Tensor, partials, scale, margin, wants: list[bool]) -> list[Tensor]:
    return [a.new_empty(a.shape if want else (0,)) for want in wants]


def _keep(ctx, inputs, output) -> None:
    a, b, ctx.margin, _ = inputs
    ctx.set_materialize_grads(False)  # the partials have none, and are four times a picture
    ctx.save_for_backward(a, b, output[1])


def _differentiate(ctx, scale: Tensor | None, _) -> tuple[Tensor | None, Tensor | None, None, None]:
    if scale is None:
        return (None,) * 4
    a, b, partials = ctx.saved_tensors
    wants = list(ctx.needs_input_grad[:2])
    grads = _ssim_backward(a, b, partials, scale, ctx.margin, wants)
    grad_a, grad_b = (grad if want else None for grad, want in zip(grads, wants, strict=True))
    return grad_a, grad_b, None, None


_ssim = _native.OPERATORS.define(
    "ssim(Tensor a, Tensor b, SymInt margin, bool keep) -> (Tensor, Tensor)",
    cpu=_forward,
    cuda=_native.on_gpu("ssim"),
    fake=_empty_result,
    keep=_keep,
    differentiate=_differentiate,
)
_ssim_backward = _native.OPERATORS.define(
    "ssim_backward(Tensor a, Tensor b, Tensor partials, Tensor scale, SymInt margin, bool[] wants) "
    "-> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("ssim_backward"),
    fake=_empty_grads,
)


def _shape(a: Tensor, margin: int) -> _native.SsimShape:
    *lead, height, width = a.shape
    images = 1
    for size in lead:
        images *= size
    return _native.SsimShape(images, height, width, margin)
