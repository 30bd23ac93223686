"""The typed interface: `rasterize(...) -> RasterOutput`, inputs checked by name.

Convention: OpenCV axes, column vectors, K in pixels with pixel centres at .5.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diff_gaussian_rasterization import native, ops, reference

MAX_SH_DEGREE = 3


@dataclass(frozen=True)
class RasterOutput:
    """One drawn view; all but `radii` are differentiable."""

    color: Tensor  # C H W, with the background behind
    depth: Tensor  # 1 H W, sum of w_i z_i in world units (not divided by alpha)
    alpha: Tensor  # 1 H W in [0, 1)
    radii: Tensor  # N int32, three standard deviations in pixels; 0 = not drawn


def rasterize(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    *,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    sh: Tensor | None = None,
    colors: Tensor | None = None,
    sh_degree: int = 0,
    background: Tensor | None = None,
    near: float = 0.01,
    far: float = 100.0,
    means2d: Tensor | None = None,
    means2d_abs: Tensor | None = None,
    covariances: Tensor | None = None,
    antialiased: bool = False,
) -> RasterOutput:
    """Draw Gaussians by EWA splatting and front-to-back blending (Kerbl et al. 2023).

    means "N 3" world; quats "N 4" wxyz, normalised inside; scales "N 3" world units; opacities
    "N 1" or "N" in (0, 1); viewmat "4 4" world-to-camera, rigid; K "3 3" pixels; exactly one of sh
    "N B 3" (the first (sh_degree + 1)² bases are read) and colors "N C"; background "C" (None =
    zeros). Gaussians with near < z < far are drawn. covariances "N 6" (xx xy xz yy yz zz) may stand
    in for quats and scales. means2d "N 3" is a holder whose gradient becomes d loss / d mean in
    NDC (third component 0), as 3DGS densification reads it. means2d_abs "N 3" is another, for the
    sum over pixels of the absolute values of what each pixel adds to that gradient (gsplat's
    absgrad, in NDC); on a GPU with at most 32 channels.

    Every footprint S is widened to S' = S + 0.3 square pixels. antialiased multiplies the opacity
    by sqrt(det S / det S') (Mip-Splatting; gsplat's mode of that name): what is smaller than a
    pixel then gets fainter as it shrinks instead of staying a dot. A row without area draws
    nothing, and gets zero gradient as any row below 1/255 does.

    All tensors share one device and one dtype, float32 or float64. A row with NaN or Inf, a zero
    quaternion, or opacity below 1/255 is not drawn and gets zero gradient.

    Raises TypeError for a wrong type, dtype or device, ValueError for a wrong shape or value,
    OutOfMemoryError where pairs of tiles and Gaussians exceed `set_pair_budget`, backward too.
    """
    inputs = ops.Inputs(
        means, quats, scales, covariances, opacities, sh, colors, means2d, means2d_abs,
        viewmat, background, K, width, height, sh_degree, float(near), float(far), antialiased,
    )  # fmt: skip
    check_inputs(inputs)
    return RasterOutput(*backend(means.device)(*inputs)[:4])


def check_inputs(inputs: ops.Inputs) -> None:
    """TypeError or ValueError, as `rasterize` raises them, without reading any tensor's numbers."""
    means, quats, scales, covariances, opacities, sh, colors, *holders, viewmat, background, K = (
        inputs[: ops.TENSORS]
    )
    _check_tensors(inputs)
    _check_choices(quats, scales, covariances, sh, colors, inputs.sh_degree)
    _check_shapes(means, quats, scales, covariances, opacities, sh, colors, *holders)
    _check_camera(viewmat, K, inputs.width, inputs.height, inputs.near, inputs.far)
    if not isinstance(inputs.antialiased, bool):
        raise TypeError(f"antialiased is {type(inputs.antialiased).__name__}, expected bool")
    if background is not None and tuple(background.shape) != (inputs.channels,):
        expected = f"({inputs.channels},), one number per channel"
        raise _shape_error("background", background, expected)


def why_no_kernels(device: torch.device) -> str | None:
    """None where kernels draw on `device`, else one sentence that says why not."""
    if device.type == "cpu":
        return native.LIBRARY.why_not()
    if device.type != "cuda":
        return f"there are no kernels for {device.type} devices"
    try:
        from nvrtc_launch import why_not
    except ImportError as error:
        return f"nvrtc-launch cannot be imported ({error})"
    return why_not(device)


@functools.cache
def backend(device: torch.device) -> Callable[..., Sequence[Tensor]]:
    """What draws tensors of `device`: takes the fields of `ops.Inputs`, returns an image first."""
    reason = None if device.type == "meta" else why_no_kernels(device)
    if reason is None:
        return ops.forward
    if device.type != "cpu":
        warnings.warn(f"drawing on the CPU and copying the picture back: {reason}", stacklevel=3)
        return _draw_copies
    warnings.warn(f"drawing with the slow PyTorch twin: {reason}", stacklevel=3)
    return reference.forward


def _draw_copies(*arguments) -> list[Tensor]:
    """Draw on the CPU; gradients cross with the copies."""
    copies = (x.cpu() if isinstance(x, Tensor) else x for x in arguments)
    image = backend(torch.device("cpu"))(*copies)[:4]
    return [x.to(arguments[0].device) for x in image]


def _check_tensors(inputs: ops.Inputs) -> None:
    means = inputs.means
    if not isinstance(means, Tensor):
        raise TypeError(f"means is {type(means).__name__}, expected a Tensor")
    if means.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"means has dtype {means.dtype}, expected torch.float32 or torch.float64")
    dtype, device = means.dtype, means.device
    for name, tensor in zip(ops.Inputs._fields[: ops.TENSORS], inputs, strict=False):
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is {type(tensor).__name__}, expected a Tensor")
        if tensor.dtype != dtype:
            raise TypeError(f"{name} has dtype {tensor.dtype}, expected {dtype} like means")
        if tensor.device != device:
            raise TypeError(f"{name} is on {tensor.device}, expected {device} like means")


def _check_choices(quats, scales, covariances, sh, colors, sh_degree: int) -> None:
    if (sh is None) == (colors is None):
        found = "neither" if sh is None else "both"
        raise ValueError(f"{found} of sh and colors given, expected exactly one")
    if (quats is None) != (scales is None) or (quats is None) == (covariances is None):
        raise ValueError("expected either quats and scales or covariances")
    if not 0 <= sh_degree <= MAX_SH_DEGREE:
        raise ValueError(f"sh_degree is {sh_degree}, expected 0 to {MAX_SH_DEGREE}")
    if sh is not None and sh.dim() == 3 and sh.shape[1] < (sh_degree + 1) ** 2:
        raise ValueError(
            f"sh has {sh.shape[1]} bases, expected at least {(sh_degree + 1) ** 2} "
            f"for sh_degree {sh_degree}"
        )


def _check_shapes(
    means, quats, scales, covariances, opacities, sh, colors, means2d, means2d_abs
) -> None:
    if means.dim() != 2 or means.shape[1] != 3:
        raise _shape_error("means", means, "(N, 3)")
    n = means.shape[0]
    rows = {"quats": 4, "scales": 3, "covariances": 6, "means2d": 3, "means2d_abs": 3}
    for (name, columns), tensor in zip(
        rows.items(), (quats, scales, covariances, means2d, means2d_abs), strict=True
    ):
        if tensor is not None and tuple(tensor.shape) != (n, columns):
            raise _shape_error(name, tensor, f"({n}, {columns})")
    if tuple(opacities.shape) not in ((n, 1), (n,)):
        raise _shape_error("opacities", opacities, f"({n}, 1) or ({n},)")
    if sh is not None and (sh.dim() != 3 or sh.shape[0] != n or sh.shape[2] != 3):
        raise _shape_error("sh", sh, f"({n}, bases, 3)")
    if colors is not None and (colors.dim() != 2 or colors.shape[0] != n or colors.shape[1] == 0):
        raise _shape_error("colors", colors, f"({n}, channels) with at least one channel")


def _check_camera(viewmat, K, width: int, height: int, near: float, far: float) -> None:
    if tuple(viewmat.shape) != (4, 4):
        raise _shape_error("viewmat", viewmat, "(4, 4)")
    if tuple(K.shape) != (3, 3):
        raise _shape_error("K", K, "(3, 3)")
    for name, size in (("width", width), ("height", height)):
        if not isinstance(size, int):
            raise TypeError(f"{name} is {type(size).__name__}, expected int")
        if not 1 <= size <= 32768:
            raise ValueError(f"{name} is {size}, expected 1 to 32768 pixels")
    if not 0 <= near < far:
        raise ValueError(f"near is {near} and far {far}, expected 0 <= near < far")


def _shape_error(name: str, tensor: Tensor, expected: str) -> ValueError:
    return ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}")
