"""The interface that 3DGS code calls, drawn by the typed `rasterize`: (color, radii).

This file alone knows the 3DGS conventions: matrices for row vectors (transposed), pixel centres on
integers (half a pixel off ours), drawing from z > 0.2 on. A module named after its return values
(`color_radii_depth`, ...) serves the forks that return more; each adds one small class to this one.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor, nn

from diff_gaussian_rasterization import attributes
from diff_gaussian_rasterization.choices import FORM, FORMS, ROTATION
from diff_gaussian_rasterization.layout import Inputs
from diff_gaussian_rasterization.typed import RasterOutput, check_inputs, rasterize

NEAR = 0.2  # world units; 3DGS draws what lies beyond
_FOCAL_TOLERANCE = 1e-3  # relative, between tanfovx/y and projmatrix
_CENTER_TOLERANCE = 1e-4  # of the distance from the origin (1 at least): campos and viewmatrix


class _Fields(NamedTuple):
    image_height: int
    image_width: int
    tanfovx: float
    tanfovy: float
    bg: Tensor
    scale_modifier: float
    viewmatrix: Tensor
    projmatrix: Tensor
    sh_degree: int
    campos: Tensor
    prefiltered: bool
    debug: bool = False  # optional, as the fork of Dynamic 3D Gaussians leaves it out
    antialiasing: bool = False  # a field of 3DGS since October 2024


class GaussianRasterizationSettings(_Fields):
    """Camera and options, field for field as 3DGS has them.

    `viewmatrix` and `projmatrix` "4 4" (or "1 4 4") act on row vectors from the left: world to
    camera, and world to clip space. SH are seen from `campos` "3"; None = the camera's centre, as
    it follows from a rigid `viewmatrix`. `prefiltered` and `debug` are accepted and not needed.

    Raises TypeError for a field that it does not have.
    """

    __slots__ = ()

    def __new__(cls, *values, **fields):
        if unknown := sorted(fields.keys() - set(cls._fields)):
            raise TypeError(
                f"GaussianRasterizationSettings has no field {', '.join(map(repr, unknown))}; it "
                f"has {', '.join(cls._fields)}; docs/drop-in.md lists the forks that are served"
            )
        return super().__new__(cls, *values, **fields)


class GaussianRasterizer(nn.Module):
    """Draws Gaussians with the settings given; gradients reach `means2D.grad` in NDC.

    What an instance of this very class returns is what `diff_gaussian_rasterization.returns` chose.
    """

    returns: tuple[str, ...] = ("color", "radii")  # of RasterOutput

    def __new__(cls, *settings, **named_settings):
        if cls is GaussianRasterizer and (form := FORM()) != FORMS[0]:
            cls = import_module(f"diff_gaussian_rasterization.{form}").GaussianRasterizer
        return super().__new__(cls)

    def __init__(self, raster_settings: GaussianRasterizationSettings):
        super().__init__()
        self.raster_settings = raster_settings

    @torch.no_grad()
    def markVisible(self, positions: Tensor) -> Tensor:
        """Bool "N": which positions "N 3" lie beyond the near plane."""
        view = self.raster_settings.viewmatrix.reshape(4, 4)
        return positions @ view[:3, 2] + view[3, 2] > NEAR

    def forward(
        self,
        means3D: Tensor,
        means2D: Tensor | None,
        opacities: Tensor,
        shs: Tensor | None = None,
        colors_precomp: Tensor | None = None,
        scales: Tensor | None = None,
        rotations: Tensor | None = None,
        cov3D_precomp: Tensor | None = None,
        means2D_densify: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Returns color "C H W" and radii "N" int32 (0 = not drawn); a fork's form returns its own.

        Exactly one of shs "N B 3" and colors_precomp "N C", and exactly one of (scales "N 3",
        rotations "N 4" wxyz) and cov3D_precomp "N 6" (xx xy xz yy yz zz). Empty tensors count as
        not given, as some callers pass them. means2D_densify "N 3" is `means2d_abs` of `rasterize`.
        Raises as `rasterize` does.
        """
        inputs = typed_inputs(
            self.raster_settings, means3D, means2D, opacities, shs, colors_precomp, scales,
            rotations, cov3D_precomp)  # fmt: skip
        return self.form(inputs._replace(means2d_abs=given(means2D_densify)))

    def form(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """What `forward` returns; a fork's form overrides `returns`, or this."""
        out = rasterize(**inputs._asdict())
        return tuple(getattr(out, name) for name in self.returns)


def draw_beside(inputs: Inputs, values: Tensor) -> tuple[RasterOutput, Tensor]:
    """Draw values "N A" beside the colours; returns the output and the values' image "A H W".

    Blended like colour (sum of w_i values_i, not divided by alpha) on a background of zeros.
    """
    if inputs.means2d_abs is not None and inputs.colors is None:
        # Absolute values of two passes' gradients are not those of their sum: one pass.
        camera = -inputs.viewmat[:3, :3].T @ inputs.viewmat[:3, 3]
        colors = attributes.seen_colors(inputs.means, inputs.sh, camera, inputs.sh_degree)
        inputs = inputs._replace(sh=None, colors=colors)
    if inputs.colors is None:
        return _draw_twice(inputs, values)
    channels = inputs.channels
    colors = torch.cat([inputs.colors, values], 1)
    behind = torch.cat([inputs.background, values.new_zeros(values.shape[1])])
    out = rasterize(**inputs._replace(colors=colors, background=behind)._asdict())
    return replace(out, color=out.color[:channels]), out.color[channels:]


def _draw_twice(inputs: Inputs, values: Tensor) -> tuple[RasterOutput, Tensor]:
    """Colours from SH, then values: a second pass over the pixels costs less than SH and their
    gradient in PyTorch, which one pass would need, and nothing backward where no loss reads it.

    A row that either pass leaves out, as it is not finite, is left out of both.
    """
    finite = values.detach().isfinite().all(1).reshape(inputs.opacities.shape)
    inputs = inputs._replace(opacities=torch.where(finite, inputs.opacities, torch.nan))
    out = rasterize(**inputs._asdict())
    values = torch.where(out.radii[:, None] > 0, values, torch.nan)
    beside = inputs._replace(sh=None, colors=values, background=None)
    return out, rasterize(**beside._asdict()).color


def typed_inputs(
    settings: GaussianRasterizationSettings,
    means3D: Tensor,
    means2D: Tensor | None,
    opacities: Tensor,
    shs: Tensor | None,
    colors_precomp: Tensor | None,
    scales: Tensor | None,
    rotations: Tensor | None,
    cov3D_precomp: Tensor | None,
) -> Inputs:
    """The arguments of `rasterize` for a call in 3DGS's terms.

    Raises as `rasterize` does.
    """
    scales, sh = given(scales), given(shs)
    K, center = _camera(settings, with_center=sh is not None and settings.sh_degree > 0)
    inputs = Inputs(
        means=means3D,
        quats=given(rotations),
        scales=None if scales is None else scales * settings.scale_modifier,
        covariances=given(cov3D_precomp),
        opacities=opacities,
        sh=sh,
        colors=given(colors_precomp),
        means2d=given(means2D),
        means2d_abs=None,
        viewmat=settings.viewmatrix.reshape(4, 4).T.to(means3D),
        background=settings.bg.to(means3D),
        K=K.to(means3D),
        width=int(settings.image_width),
        height=int(settings.image_height),
        sh_degree=int(settings.sh_degree),
        near=NEAR,
        far=float("inf"),
        antialiased=bool(settings.antialiasing),
    )
    check_inputs(inputs)
    if center is not None:
        center = center.to(means3D)
        colors = attributes.seen_colors(inputs.means, inputs.sh, center, inputs.sh_degree)
        inputs = inputs._replace(sh=None, colors=colors)
    if inputs.quats is not None and ROTATION() == "as_given":
        stretched = attributes.stretched_covariances(inputs.quats, inputs.scales)
        inputs = inputs._replace(quats=None, scales=None, covariances=stretched)
    return inputs


def given(tensor: Tensor | None) -> Tensor | None:
    """None for None and for the empty 1-D placeholder; N = 0 inputs keep their two dimensions."""
    return None if tensor is None or (tensor.dim() == 1 and tensor.numel() == 0) else tensor


def _camera(
    settings: GaussianRasterizationSettings, *, with_center: bool
) -> tuple[Tensor, Tensor | None]:
    """K "3 3" float64 on the CPU, pixel centres at .5; and, where it is asked for and `campos` is
    not the camera's centre, `campos` "3".

    NDC -1 and 1 are the image's outer edges, so the centre of a symmetric frustum is W / 2 here and
    (W - 1) / 2 where centres are integers: this function is the half pixel.
    """
    with_center = with_center and settings.campos is not None
    center = torch.as_tensor(settings.campos).reshape(-1) if with_center else None
    if with_center and center.numel() != 3:
        raise ValueError(f"campos has {center.numel()} numbers, expected 3 or None")
    with torch.no_grad():
        parts = [settings.viewmatrix.reshape(16), settings.projmatrix.reshape(16)]
        parts += [center.to(parts[0])] if with_center else []
        flat = torch.cat(parts).double().cpu()  # one transfer: it waits for the device
        view, full = flat[:32].reshape(2, 4, 4)
        clip = torch.linalg.solve(view, full).T
        if with_center and not flat[32:].isfinite().all():
            raise ValueError(f"campos is {flat[32:].tolist()}, expected finite numbers or None")
        if with_center and _is_center(flat[32:], view):
            center = None
    K = torch.eye(3, dtype=torch.float64)
    axes = (settings.image_width, settings.tanfovx), (settings.image_height, settings.tanfovy)
    for axis, (size, tangent) in enumerate(axes):
        scale, shift = (clip[axis, column] / clip[3, 2] for column in (axis, 2))
        if abs(scale * tangent - 1) > _FOCAL_TOLERANCE:
            raise ValueError(
                f"tanfov{'xy'[axis]} is {tangent}, but projmatrix has {1 / float(scale):.6g}; "
                "both must describe one camera"
            )
        K[axis, axis] = size / (2 * tangent)
        K[axis, 2] = size / 2 * (1 + shift)
    return K, center


def _is_center(campos: Tensor, view: Tensor) -> bool:
    """Whether it is the centre of the rigid camera, as far as rounding goes."""
    center = -view[:3, :3] @ view[3, :3]
    bound = _CENTER_TOLERANCE * center.norm().clamp(min=1)
    return bool((campos - center).norm() <= bound)
