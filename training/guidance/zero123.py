"""Zero123-XL as guidance (Liu et al., "Zero-1-to-3: Zero-shot One Image to 3D Object", ICCV 2023)
by score distillation (Poole et al., "DreamFusion", ICLR 2023, equation 3).

The weights are the user's: a local folder in the layout of diffusers, safetensors, each part read
by the library's own class. Nothing is downloaded, and no code that comes with weights is run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from scene.frames import Frame, FrameLoader
from training.samplers import Imagined, seen_from, turn
from utils.errors import InputError
from utils.files import reading
from utils.random import generator

WHICH = (
    "Zero123-XL in the layout of diffusers, such as the one that ashawkey/zero123-xl-diffusers "
    "names (its licence is yours to accept), downloaded to a local folder"
)
REQUIREMENTS = "python -m pip install -r requirements-generate.txt"
PARTS = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "image_encoder": "CLIPVisionModelWithProjection",
    "scheduler": "DDIMScheduler",
}
CAMERA = ("clip_camera_projection", "cc_projection")  # folders of the camera's projection
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
SMALL_CARD = 24 * 2**30  # bytes of GPU memory under which halves and slices are taken
KEPT = 30  # maps as large as the picture that the encoder's backward pass needs
Z = 4  # numbers that a camera's projection is told


def open_guidance(folder: str, device: torch.device, scale: float) -> Zero123:
    """The prior with the weights of a folder. Raises InputError naming what is missing."""
    root, (dtype, small) = Path(folder), precision(device)
    if not folder or not root.is_dir():
        raise InputError(
            f"{folder or '--guidance_path is empty'}: guidance zero123 needs weights; give "
            f"--guidance_path FOLDER with {WHICH}, or --guidance none with pictures of other sides"
        )
    parts = read_parts(root, PARTS, WHICH, dtype, device)
    prior = Zero123(*parts, camera_projection(root), device, scale)
    if small:
        prior.unet.set_attention_slice("auto")
    prior.seconds = prior.timed()
    return prior


def read_parts(
    root: Path, parts: Mapping[str, str], which: str, dtype: torch.dtype, device: torch.device
) -> list[Any]:
    """Networks, frozen, schedules and tokenizers by folder and class. Raises InputError naming the
    folder that is missing or broken; `which`: what it should be a part of."""
    try:
        import diffusers
        import transformers
    except ImportError as error:
        raise InputError(f"a library is missing ({error}): {REQUIREMENTS}") from None
    found = []
    for name, word in parts.items():
        kind = getattr(diffusers, word, None) or getattr(transformers, word)
        options: dict[str, Any] = {}
        if issubclass(kind, nn.Module):
            options = {"dtype": dtype, "use_safetensors": True}
            if hasattr(diffusers, word):
                options["low_cpu_mem_usage"] = False  # the other way needs one more library
        if not (root / name).is_dir():
            raise InputError(f"{root / name}: no such folder; expected a part of {which}")
        with reading(root / name, word, "it must hold its config and .safetensors"):
            part = kind.from_pretrained(root / name, local_files_only=True, **options)
        found.append(part.to(device).eval().requires_grad_(False) if options else part)
    return found


def camera_projection(root: Path) -> tuple[Tensor, Tensor]:
    """Weight (width, embedding + 4) and bias of what tells the UNet image and camera.

    Published under two names, with the prefix `proj.` or `projection.`. Raises InputError.
    """
    folder = next((root / name for name in CAMERA if (root / name).is_dir()), root / CAMERA[0])
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder}: no .safetensors in it; expected a part of {WHICH}")
    with reading(files[0], "a whole safetensors file", "download it again"):
        tensors = load_file(files[0])
    found = {key.rpartition(".")[2]: value.float() for key, value in tensors.items()}
    if found.keys() != {"weight", "bias"}:
        raise InputError(f"{files[0]}: it holds {', '.join(tensors)}; expected one linear layer")
    return found["weight"], found["bias"]


@dataclass(frozen=True)
class Condition:
    """What the prior is shown of a picture."""

    embedding: Tensor  # (1, E) of CLIP
    latent: Tensor  # (1, 4, h, w) of the VAE, not scaled


class Zero123:
    """Score distillation: the gradient at a latent is how the noise that the UNet sees in it
    differs from the noise that was added."""

    def __init__(
        self,
        unet: Any,
        vae: Any,
        encoder: Any,
        schedule: Any,
        projection: tuple[Tensor, Tensor],
        device: torch.device,
        scale: float,
    ) -> None:
        self.unet, self.vae, self.encoder, self.scale = unet, vae, encoder, scale
        self.device, self.dtype = device, unet.dtype
        self.kept = schedule.alphas_cumprod.to(device)  # (T,) of the signal's variance
        self.weight, self.bias = (part.to(device) for part in projection)
        self.side = unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
        self.loader = FrameLoader(0, device)
        self.known: dict[tuple[Path | None, int], Condition] = {}
        self.seconds = 0.0

    @property
    def bytes(self) -> int:
        """Weights, and what one call works in."""
        modules = (self.unet, self.vae, self.encoder)
        tensors = [tensor for module in modules for tensor in module.parameters()]
        maps = KEPT * self.side**2 * self.vae.config.block_out_channels[0]
        return sum(t.numel() * t.element_size() for t in tensors) + maps * self.dtype.itemsize

    def __call__(
        self, image: Tensor, frame: Imagined, window: tuple[float, float], source: torch.Generator
    ) -> Tensor:
        """As `Guidance` says: half the sum of squares of the gradient, which is its gradient."""
        known, camera = self.condition(frame.likeness), frame.likeness.camera
        radius, _, elevation = seen_from(camera)
        further, _, higher = seen_from(frame.camera)
        token = self.token(
            known.embedding, higher - elevation, turn(camera, frame.camera), further - radius
        )
        latent = self.vae.config.scaling_factor * self.encoded(image, self._noise(source))
        with torch.no_grad():
            gradient = self.gradient(latent, known.latent, token, window, source)
        return 0.5 * (latent - (latent - gradient).detach()).square().sum()

    def condition(self, likeness: Frame) -> Condition:
        """What is shown of the picture of a frame; computed once, the same in every run."""
        key = (likeness.image_path, likeness.index)
        if key not in self.known:
            camera = likeness.camera.resized(self.side, self.side)
            frame = replace(likeness, camera=camera, background=None)
            picture = self.loader.load(frame, torch.ones(3, device=self.device)).image
            source = generator(0, "zero123", likeness.image_path.name, likeness.index)
            with torch.no_grad():
                latent = self.encoded(picture, self._noise(source))
                self.known[key] = Condition(self.embedded(picture), latent)
        return self.known[key]

    def embedded(self, picture: Tensor) -> Tensor:
        """(1, E) CLIP's embedding of a picture (3, H, W)."""
        return embedded(self.encoder, picture).float()

    def encoded(self, picture: Tensor, noise: Tensor) -> Tensor:
        """(1, 4, h, w) a sample of the VAE's posterior of a picture (3, H, W), not scaled."""
        pixels = 2 * resized(picture, self.side, "bilinear") - 1
        found = self.vae.encode(pixels.to(self.dtype)).latent_dist
        return found.mean.float() + found.std.float() * noise

    def token(self, embedding: Tensor, elevation: float, azimuth: float, radius: float) -> Tensor:
        """(1, 1, width) of the picture's embedding and the way to the view: degrees above and
        around, world units away. Zero123 counts polar angles: downwards."""
        a = math.radians(azimuth)
        camera = [-math.radians(elevation), math.sin(a), math.cos(a), radius]
        told = torch.cat([embedding, embedding.new_tensor([camera])], dim=1)
        return linear(told, self.weight, self.bias)[:, None]

    def gradient(
        self, latent: Tensor, shown: Tensor, token: Tensor, window: tuple[float, float],
        source: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """(1, 4, h, w) (1 - a) (e - n): `e` the noise seen in the noised latent, `n` that added,
        `a` the share of the signal's variance."""
        low, high = (int(part * len(self.kept)) for part in window)
        high = min(high, len(self.kept) - 1)
        t = int(torch.randint(low, high + 1, (1,), generator=source))
        kept, noise = self.kept[t], self._noise(source)
        noised = kept.sqrt() * latent + (1 - kept).sqrt() * noise
        seen = self.predicted(noised, shown, token, t)
        return torch.nan_to_num((1 - kept) * (seen - noise))

    def predicted(self, noised: Tensor, shown: Tensor, token: Tensor, t: int) -> Tensor:
        """(1, 4, h, w) the noise that the UNet sees, guided away from what it sees unshown."""
        both = torch.cat([torch.cat([noised, shown], 1), torch.cat([noised, 0 * shown], 1)])
        tokens = torch.cat([token, 0 * token])
        when = torch.full((2,), t, device=self.device)
        out = self.unet(both.to(self.dtype), when, encoder_hidden_states=tokens.to(self.dtype))
        with_it, without = out.sample.float().chunk(2)
        return without + self.scale * (with_it - without)

    def timed(self) -> float:
        """Seconds of one call, the second of two: the first one warms up."""
        picture = torch.full((3, self.side, self.side), 0.5, device=self.device, requires_grad=True)
        for _ in range(2):
            start = time.perf_counter()
            source = generator(0, "timing")
            latent = self.encoded(picture, self._noise(source))
            token = self.token(latent.new_zeros(1, self.weight.shape[1] - Z), 0.0, 0.0, 0.0)
            self.gradient(latent.detach(), latent.detach(), token, (0.5, 0.5), source)
            latent.sum().backward()
            taken = time.perf_counter() - start
        return taken

    def _noise(self, source: torch.Generator) -> Tensor:
        side, channels = self.unet.config.sample_size, self.vae.config.latent_channels
        return torch.randn(1, channels, side, side, generator=source).to(self.device)


def embedded(encoder: Any, picture: Tensor) -> Tensor:
    """(1, E) a picture (3, H, W) as CLIP's image encoder sees it."""
    small = resized(picture, encoder.config.image_size, "bicubic").clamp(0, 1)
    mean, std = (small.new_tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    return encoder(pixel_values=((small - mean) / std).to(encoder.dtype)).image_embeds


def resized(picture: Tensor, side: int, mode: str) -> Tensor:
    """(1, 3, side, side) of a picture (3, H, W)."""
    return interpolate(picture[None], (side, side), mode=mode, align_corners=False, antialias=True)


def precision(device: torch.device) -> tuple[torch.dtype, bool]:
    """The type of numbers, and whether it is a GPU whose memory asks for halves and slices."""
    whole = torch.float32, False
    if device.type != "cuda":
        return whole
    if torch.cuda.get_device_properties(device).total_memory >= SMALL_CARD:
        return whole
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16, True
