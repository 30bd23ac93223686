"""Zero123-XL's parts, tiny and random, in the library's own classes, saved as a user's weights
are."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

WIDTH, EMBEDDING = 32, 32  # of the UNet's context and of the image encoder


def write_tiny_zero123(folder: Path, prefix: str = "proj", camera: str = "clip_camera_projection"):
    """Write the folder and return it; skips the test where a library is missing."""
    diffusers = pytest.importorskip("diffusers", reason="needs requirements-generate.txt")
    transformers = pytest.importorskip("transformers", reason="needs requirements-generate.txt")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=8,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=WIDTH,
            norm_num_groups=8,
            attention_head_dim=8,
        )
        vae = tiny_vae(diffusers)
        encoder = tiny_encoder(transformers)
        linear = torch.nn.Linear(EMBEDDING + 4, WIDTH)
    schedule = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    parts = {"unet": unet, "vae": vae, "image_encoder": encoder, "scheduler": schedule}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / camera).mkdir()
    tensors = {f"{prefix}.{name}": value.detach() for name, value in linear.named_parameters()}
    save_file(tensors, folder / camera / "diffusion_pytorch_model.safetensors")
    return folder


def tiny_vae(diffusers):
    return diffusers.AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    )


def tiny_encoder(transformers):
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
