"""(color, depth, normal, alpha, radii, extra): the form of `diff_gauss`, which STAG4D calls."""

from __future__ import annotations

import torch
from torch import Tensor

from diff_gaussian_rasterization import attributes, dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings, given
from diff_gaussian_rasterization.layout import Inputs

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """Draws normals and any attributes "N E" beside the colours."""

    def forward(
        self,
        means3D: Tensor,
        means2D: Tensor | None,
        opacities: Tensor,
        shs: Tensor | None = None,
        colors_precomp: Tensor | None = None,
        scales: Tensor | None = None,
        rotations: Tensor | None = None,
        cov3Ds_precomp: Tensor | None = None,
        norm3Ds_precomp: Tensor | None = None,
        extra_attrs: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns color "C H W", depth "1 H W", normal "3 H W", alpha "1 H W", radii "N" int32
        and extra "E H W" (E = 0 without extra_attrs).

        Depth, normal and extra are sums of w_i z_i, w_i n_i and w_i e_i, not divided by alpha.
        n_i is norm3Ds_precomp "N 3" as it stands, else the Gaussian's shortest axis, of length 1,
        in world space, turned towards the camera. Where cov3Ds_precomp "N 6" is given, scales and
        rotations are not read, and the axis it gives is a constant for autograd.
        """
        covariances, normals, extra = map(given, (cov3Ds_precomp, norm3Ds_precomp, extra_attrs))
        if covariances is not None:
            scales = rotations = None
        inputs = dropin.typed_inputs(
            self.raster_settings, means3D, means2D, opacities, shs, colors_precomp, scales,
            rotations, covariances)  # fmt: skip
        if normals is None:
            normals = _normals(inputs)
        if extra is None:
            extra = means3D.new_zeros(len(means3D), 0)
        out, blended = dropin.draw_beside(inputs, torch.cat([normals, extra], 1))
        return out.color, out.depth, blended[:3], out.alpha, out.radii, blended[3:]


def _normals(inputs: Inputs) -> Tensor:
    if inputs.covariances is not None:
        return attributes.facing_axes_of_covariances(
            inputs.means, inputs.covariances, inputs.viewmat
        )
    return attributes.facing_axes(inputs.means, inputs.quats, inputs.scales, inputs.viewmat)
