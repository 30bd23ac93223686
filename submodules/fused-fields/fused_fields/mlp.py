"""The perceptron that turns features of a point into offsets of its Gaussian, in one kernel.

Tiles of points go through all layers while their activations are in cache; the backward pass
computes them again instead of keeping them, so memory does not grow with points times widths.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from . import _native, reference

ACTIVATIONS = ("relu", "sigmoid")
Layer = tuple[Tensor, Tensor]  # weight "outputs inputs", bias "outputs"


def offset_mlp(
    features: Tensor | Sequence[Tensor],
    trunk: Sequence[Layer],
    hidden: Layer,
    heads: Sequence[Layer],
    activation: str = "relu",
    again: int = 0,
    bf16: bool = False,
    parts: Sequence[int] = (),
) -> list[Tensor]:
    """One tensor "N k" per head from `features` "N F" (the decoder of 4DGS, Wu et al. 2024, 4.2).

    `trunk` is a chain of layers, F to W, then W to W, or empty; `hidden` holds the first layers of
    all H heads side by side, W to H * V; head h reads the h-th V columns of it and gives its k
    outputs. The activation, "relu" or "sigmoid", follows every layer but the last ones. Layers are
    (weight "outputs inputs", bias). Layer number `again` of trunk and hidden, unless it is 0, reads
    the features once more: its inputs are F numbers, then the outputs of the one before.

    `bf16`: operands of all products, forward and backward, are rounded to bfloat16; sums, biases
    and activations stay float32. With AMX or AVX-512's bf16 instructions that is faster; without
    them it is slower. The order of a sum, and so its last bits, depends on which the processor has.

    `features` may come in tensors that stand side by side, "N F1", "N F2" and so on, in place of
    one to be joined. `parts`: a single head's outputs come in tensors of these widths, in place of
    one to be split.

    Gradients go to features, weights and biases, the same bits for any number of threads; there are
    no second derivatives. On the CPU rows whose outputs have a gradient of zero cost nothing there.
    On a GPU this is the plain PyTorch twin, whose time is that of cuBLAS's products. A NaN feature
    makes the row NaN and touches no other row.

    Raises ValueError or TypeError naming the layer whose shape or dtype does not fit.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
    told = [features] if isinstance(features, Tensor) else list(features)
    _check(told, trunk, hidden, heads, again, bf16, parts)
    layers = [*trunk, hidden, *heads]
    weights = [weight.contiguous() for weight, _ in layers]
    biases = [bias.contiguous() for _, bias in layers]
    if not _native.runs_on([*told, *weights, *biases], devices=("cpu",)):
        return reference.offset_mlp(told, trunk, hidden, heads, activation, again, bf16, parts)
    sigmoid = activation == "sigmoid"
    numbers = (len(heads), sigmoid, again, bf16, list(parts) or None)
    return _mlp([each.contiguous() for each in told], weights, biases, *numbers)


def _check(
    told: list[Tensor],
    trunk: Sequence[Layer],
    hidden: Layer,
    heads: Sequence[Layer],
    again: int,
    bf16: bool,
    parts: Sequence[int],
) -> None:
    shapes = [tuple(each.shape) for each in told]
    if not heads or not shapes or any(len(s) != 2 or s[0] != shapes[0][0] for s in shapes):
        raise ValueError(
            f"features has shape {', '.join(map(str, shapes))}, with {len(heads)} heads; expected "
            "(N, F), of one N where there are several, and at least one head"
        )
    features = told[0]
    if any(each.dtype != features.dtype or each.device != features.device for each in told):
        kinds = ", ".join(f"{each.dtype} on {each.device}" for each in told)
        raise TypeError(f"features are {kinds}; give all the same")
    if bf16 and features.dtype != torch.float32:
        raise TypeError(f"features is {features.dtype}; bf16 rounds torch.float32")
    if not 0 <= again <= len(trunk):
        raise ValueError(f"again is {again}; expected 0 for none, or a layer up to {len(trunk)}")
    width = of_features = sum(width for _, width in shapes)
    for k, layer in enumerate((*trunk, hidden)):
        if k == again > 0:
            width += of_features
        name = "hidden" if k == len(trunk) else f"trunk[{k}]"
        width = _outputs(name, layer, width, features)
    if width % len(heads):
        raise ValueError(
            f"hidden has {width} outputs, which {len(heads)} heads cannot share; "
            "expected a multiple of the number of heads"
        )
    sizes = [
        _outputs(f"heads[{k}]", layer, width // len(heads), features)
        for k, layer in enumerate(heads)
    ]
    if parts and ([sum(parts)] != sizes or min(parts) < 0):
        raise ValueError(
            f"parts are {tuple(parts)} of heads with {sizes} outputs; expected widths that add up "
            "to the outputs of one head"
        )


def _outputs(name: str, layer: Layer, inputs: int, features: Tensor) -> int:
    """How many outputs a layer has; raises where it cannot read `inputs` numbers."""
    weight, bias = layer
    if weight.ndim != 2 or weight.shape[1] != inputs or bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{name} has a weight of shape {tuple(weight.shape)} and a bias of shape "
            f"{tuple(bias.shape)}; expected (outputs, {inputs}) and (outputs,)"
        )
    for tensor in layer:
        if tensor.dtype != features.dtype or tensor.device != features.device:
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and features is {features.dtype} "
                f"on {features.device}; give both the same"
            )
    return weight.shape[0]


def _forward(
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    heads: int,
    sigmoid: bool,
    again: int,
    bf16: bool,
    parts: list[int] | None,
) -> list[Tensor]:
    outputs = _empty_outputs(features, weights, biases, heads, sigmoid, again, bf16, parts)
    nothing = [None] * len(weights)
    numbers = (heads, sigmoid, again, bf16, parts)
    mlp = _layers(features, weights, biases, nothing, nothing, *numbers)
    _native.call("mlp_forward", weights[0].dtype, ctypes.addressof(mlp), _addresses(features),
                 len(features[0]), _addresses(outputs))  # fmt: skip
    return outputs


def _empty_outputs(
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    heads: int,
    sigmoid: bool,
    again: int,
    bf16: bool,
    parts: list[int] | None,
) -> list[Tensor]:
    widths = parts or [len(weight) for weight in weights[-heads:]]
    return [features[0].new_empty(len(features[0]), width) for width in widths]


def _backward(
    grads: list[Tensor],
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    heads: int,
    sigmoid: bool,
    again: int,
    bf16: bool,
    parts: list[int] | None,
    wants: list[bool],
) -> list[Tensor]:
    """Gradients of the features, empty tensors where not wanted, then of all weights, then of all
    biases."""
    numbers = (heads, sigmoid, again, bf16, parts)
    found = _empty_grads(grads, features, weights, biases, *numbers, wants)
    of_features, of_layers = found[: len(wants)], found[len(wants) :]
    grad_weights, grad_biases = of_layers[: len(weights)], of_layers[len(weights) :]
    mlp = _layers(features, weights, biases, grad_weights, grad_biases, *numbers)
    told = [grad if want else None for grad, want in zip(of_features, wants, strict=True)]
    _native.call("mlp_backward", weights[0].dtype, ctypes.addressof(mlp), _addresses(features),
                 len(features[0]), _addresses(grads), _addresses(told) if any(wants) else None,
                 )  # fmt: skip
    return found


def _empty_grads(
    grads: list[Tensor],
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    heads: int,
    sigmoid: bool,
    again: int,
    bf16: bool,
    parts: list[int] | None,
    wants: list[bool],
) -> list[Tensor]:
    pairs = zip(features, wants, strict=True)
    of_features = [torch.empty_like(x) if want else x.new_empty(0) for x, want in pairs]
    return [*of_features, *(torch.empty_like(tensor) for tensor in (*weights, *biases))]


def _keep(ctx, inputs, output) -> None:
    features, weights, biases, *ctx.numbers = inputs
    ctx.counts = [len(features), len(weights), len(biases)]
    ctx.save_for_backward(*features, *weights, *biases)


def _differentiate(ctx, grads: list[Tensor]) -> tuple:
    inputs = _in_lists(ctx.saved_tensors, ctx.counts)
    grads = [grad.contiguous() for grad in grads]
    wants = list(ctx.needs_input_grad[0])
    found = _mlp_backward(grads, *inputs, *ctx.numbers, wants)
    of_features, *of_layers = _in_lists(found, ctx.counts)
    pairs = zip(of_features, wants, strict=True)
    return [grad if want else None for grad, want in pairs], *of_layers, *[None] * 5


def _in_lists(flat: Sequence[Tensor], counts: list[int]) -> list[list[Tensor]]:
    rest = iter(flat)
    return [list(islice(rest, count)) for count in counts]


_mlp = _native.OPERATORS.define(
    "offset_mlp(Tensor[] features, Tensor[] weights, Tensor[] biases, SymInt heads, bool sigmoid, "
    "SymInt again, bool bf16, int[]? parts) -> Tensor[]",
    cpu=_forward,
    fake=_empty_outputs,
    keep=_keep,
    differentiate=_differentiate,
)
_mlp_backward = _native.OPERATORS.define(
    "offset_mlp_backward(Tensor[] grads, Tensor[] features, Tensor[] weights, Tensor[] biases, "
    "SymInt heads, bool sigmoid, SymInt again, bool bf16, int[]? parts, bool[] wants) -> Tensor[]",
    cpu=_backward,
    fake=_empty_grads,
)


def _layers(
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    grad_weights: Sequence[Tensor | None],
    grad_biases: Sequence[Tensor | None],
    heads: int,
    sigmoid: bool,
    again: int,
    bf16: bool,
    parts: list[int] | None,
) -> _native.OffsetMlp:
    array = (_native.DenseLayer * len(weights))()
    rows = zip(weights, biases, grad_weights, grad_biases, strict=True)
    for k, (weight, bias, *grads) in enumerate(rows):
        outputs, inputs = weight.shape
        array[k] = _native.DenseLayer(
            weight.data_ptr(), bias.data_ptr(),
            *(None if grad is None else grad.data_ptr() for grad in grads), inputs, outputs,
        )  # fmt: skip
    form = _native.bf16_form() if bf16 else 0
    parts, told = parts or [], [each.shape[1] for each in features]
    body = len(weights) - heads
    return _native.OffsetMlp(
        array, body, heads, sigmoid, again, form, len(parts), _numbers(parts), len(told),
        _numbers(told),
    )  # fmt: skip


def _numbers(values: list[int]) -> ctypes.Array:
    return (ctypes.c_int32 * len(values))(*values)


def _addresses(tensors: Sequence[Tensor | None]) -> ctypes.Array:
    addresses = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
    return (ctypes.c_void_p * len(tensors))(*addresses)
