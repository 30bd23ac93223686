"""Nets of image generators, tiny and random, in the libraries' own classes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

WIDTH, EMBEDDING = 32, 32  # of the UNet's context and of the image encoder
NEEDED = "needs requirements-generate.txt"


def libraries() -> tuple[ModuleType, ModuleType]:
    """diffusers and transformers; skips the test where one is missing."""
    names = ("diffusers", "transformers")
    return tuple(pytest.importorskip(name, reason=NEEDED) for name in names)


def tiny_unet(diffusers: ModuleType, in_channels: int) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        norm_num_groups=8,
        attention_head_dim=8,
    )


def tiny_vae(diffusers: ModuleType) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    )


def tiny_encoder(transformers: ModuleType) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=EMBEDDING,
    )
    return transformers.CLIPVisionModelWithProjection(config)
