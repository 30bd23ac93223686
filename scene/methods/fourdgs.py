"""4DGS (Wu et al., "4D Gaussian Splatting for Real-Time Dynamic Scene Rendering", CVPR 2024)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass
class ModelHiddenParams:
    """The deformation field: six space-time planes and a small MLP."""

    net_width: int = 64  # width of the feature MLP and of the heads
    defor_depth: int = 1  # layers of the feature MLP; 0 and 1 are both a single Linear
    plane_tv_weight: float = 1e-4  # smoothness of the spatial planes
    time_smoothness_weight: float = 1e-2  # smoothness of the time planes along time
    l1_time_planes: float = 1e-4  # pull of the time planes to 1, the neutral factor
    kplanes_config: dict = field(
        default_factory=lambda: {
            "grid_dimensions": 2,
            "input_coordinate_dim": 4,
            "output_coordinate_dim": 32,
            "resolution": [64, 64, 64, 25],
        }
    )  # channels and resolution (x, y, z, time) of the coarsest planes
    multires: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # spatial multipliers
    no_dx: bool = False  # switch off the deformation of positions
    no_ds: bool = False  # ... of scales
    no_dr: bool = False  # ... of rotations
    no_do: bool = True  # ... of opacities
    no_dshs: bool = True  # ... of SH coefficients
    apply_rotation: bool = False  # compose quaternions instead of adding them

    # Accepted from 4DGS configs and reported: these never changed a number there, or its code crashed.
    without_effect: ClassVar[dict[str, str]] = {
        "timebase_pe": "sizes of an encoding that no layer reads",
        "posebase_pe": "sizes of an encoding that no layer reads",
        "scale_rotation_pe": "sizes of an encoding that no layer reads",
        "opacity_pe": "sizes of an encoding that no layer reads",
        "timenet_width": "width of a network that is never called",
        "timenet_output": "width of a network that is never called",
        "bounds": "always overwritten by the box of the initial points",
    }


@dataclass
class OptimizationParams:
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = 30_000  # steps of the fine stage
    coarse_iterations: int = 3_000  # steps of the static stage before it
    batch_size: int = 1  # views per step
    position_lr_init: float = 1.6e-4  # times the scene extent, as are the two below
    position_lr_final: float = 1.6e-6
    position_lr_max_steps: int = 20_000  # length of the three exponential schedules
    deformation_lr_init: float = 1.6e-4
    deformation_lr_final: float = 1.6e-5
    grid_lr_init: float = 1.6e-3
    grid_lr_final: float = 1.6e-4
    feature_lr: float = 2.5e-3  # SH of degree 0; the rest learns at a twentieth
    opacity_lr: float = 0.05
    scaling_lr: float = 5e-3
    rotation_lr: float = 1e-3
    percent_dense: float = 0.01  # of the extent: smaller Gaussians are cloned, larger ones split
    lambda_dssim: float = 0.0  # weight of 1 - SSIM beside L1
    lambda_lpips: float = 0.0  # weight of LPIPS beside L1
    opacity_reset_interval: int = 3_000
    densification_interval: int = 100
    densify_from_iter: int = 500
    densify_until_iter: int = 15_000
    densify_grad_threshold_coarse: float = 2e-4
    densify_grad_threshold_fine_init: float = 2e-4
    densify_grad_threshold_after: float = 2e-4
    pruning_from_iter: int = 500
    pruning_interval: int = 100
    opacity_threshold_coarse: float = 0.005
    opacity_threshold_fine_init: float = 0.005
    opacity_threshold_fine_after: float = 0.005
    max_gaussians: int = 360_000  # densification stops here

    without_effect: ClassVar[dict[str, str]] = {
        "dataloader": "frames always stream through the bounded cache",
        "position_lr_delay_mult": "the delay has zero steps",
        "deformation_lr_delay_mult": "the delay has zero steps",
        "weight_constraint_init": "read by no loss",
        "weight_constraint_after": "read by no loss",
        "weight_decay_iteration": "read by no loss",
        "add_point": "its code path crashes in the reference",
    }
