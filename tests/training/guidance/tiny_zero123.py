"""Zero123-XL's parts, tiny and random, saved as a user's weights are."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.training.guidance.tiny_nets import (
    EMBEDDING,
    WIDTH,
    libraries,
    tiny_encoder,
    tiny_unet,
    tiny_vae,
)


def write_tiny_zero123(folder: Path, prefix: str = "proj", camera: str = "clip_camera_projection"):
    """Write the folder and return it; skips the test where a library is missing."""
    diffusers, transformers = libraries()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = tiny_unet(diffusers, in_channels=8)
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
