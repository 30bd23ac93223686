"""The interface that 3DGS code calls, drawn by the typed `rasterize`.

This file alone knows the 3DGS conventions: matrices for row vectors (transposed), pixel centres on
integers (half a pixel off ours), drawing from z > 0.2 on.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from diff_gaussian_rasterization.typed import rasterize

NEAR = 0.2  # world units; 3DGS draws what lies beyond
_FOCAL_TOLERANCE = 1e-3  # relative, between tanfovx/y and projmatrix


class GaussianRasterizationSettings(NamedTuple):
    """Camera and options, field for field as 3DGS has them.

    `viewmatrix` and `projmatrix` "4 4" act on row vectors from the left: world to camera, and world
    to clip space. `campos`, `prefiltered` and `debug` are accepted and not needed: the camera centre
    follows from a rigid `viewmatrix`.
    """

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
    debug: bool


class GaussianRasterizer(nn.Module):
    """Draws Gaussians with the settings given; gradients reach `means2D.grad` in NDC."""

    def __init__(self, raster_settings: GaussianRasterizationSettings):
        super().__init__()
        self.raster_settings = raster_settings

    @torch.no_grad()
    def markVisible(self, positions: Tensor) -> Tensor:
        """Bool "N": which positions "N 3" lie beyond the near plane."""
        view = self.raster_settings.viewmatrix
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
    ) -> tuple[Tensor, Tensor]:
        """Returns color "C H W" and radii "N" int32 (0 = not drawn).

        Exactly one of shs "N B 3" and colors_precomp "N C", and exactly one of (scales "N 3",
        rotations "N 4" wxyz) and cov3D_precomp "N 6" (xx xy xz yy yz zz). Empty tensors count as
        not given, as some callers pass them.
        """
        settings = self.raster_settings
        scales = _given(scales)
        out = rasterize(
            means3D,
            _given(rotations),
            None if scales is None else scales * settings.scale_modifier,
            opacities,
            viewmat=settings.viewmatrix.T.to(means3D),
            K=_intrinsics(settings).to(means3D),
            width=int(settings.image_width),
            height=int(settings.image_height),
            sh=_given(shs),
            colors=_given(colors_precomp),
            sh_degree=int(settings.sh_degree),
            background=settings.bg.to(means3D),
            near=NEAR,
            far=float("inf"),
            means2d=_given(means2D),
            covariances=_given(cov3D_precomp),
        )
        return out.color, out.radii


def _given(tensor: Tensor | None) -> Tensor | None:
    """None for None and for the empty 1-D placeholder; N = 0 inputs keep their two dimensions."""
    return None if tensor is None or (tensor.dim() == 1 and tensor.numel() == 0) else tensor


def _intrinsics(settings: GaussianRasterizationSettings) -> Tensor:
    """K "3 3" float64 on the CPU, pixel centres at .5.

    NDC -1 and 1 are the image's outer edges, so the centre of a symmetric frustum is W / 2 here and
    (W - 1) / 2 where centres are integers: this line is the half pixel.
    """
    with torch.no_grad():
        view = settings.viewmatrix.detach().double().cpu()
        clip = torch.linalg.solve(view, settings.projmatrix.detach().double().cpu()).T
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
    return K
