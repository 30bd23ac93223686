"""Six views of a picture by Zero123++ (Shi et al., arXiv 2310.15110), and of a clip's pictures such
that they do not flicker (Zeng et al., "STAG4D", ECCV 2024, temporal anchor attention).

The parts are read one by one from a local folder by the library's own classes; no code that comes
with weights is run. Written from the papers; what differs from the released code: only tokens of
the views themselves are averaged, in the middle block, too, and all noise is seeded.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.guidance.zero123 import embedded, precision, read_parts, resized
from utils.errors import InputError
from utils.files import reading
from utils.random import generator

WHICH = (
    "Zero123++ v1.1 in the layout of diffusers, such as sudo-ai/zero123plus-v1.1 (its weights are "
    "CC-BY-NC 4.0, yours to accept), downloaded to a local folder"
)
PARTS = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "vision_encoder": "CLIPVisionModelWithProjection",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
    "scheduler": "EulerAncestralDiscreteScheduler",
}
COLUMNS, ROWS = 2, 3
TILE, SHOWN = 320, 512  # pixels of a side: of a view, and of the picture that is shown
GREY = 127 / 255  # behind the subject
GUIDANCE, STEPS = 4.0, 75
SEED = 42  # published; the same noise for every moment is half of what keeps views from flickering
SPREAD = 0.8  # of the shown picture's pixels, which the VAE sees divided by it
SHIFT, SHRINK, CONTRAST = 0.22, 0.75, 0.5  # of what the UNet was taught to denoise


@dataclass
class Bank:
    """What self-attention layers hand on: within a step from the shown picture to the views, and
    from the first moment's views to those of later moments."""

    fuse: float = 0.5  # the first moment's share
    mode: str = "idle"  # "show", "record" or "follow"
    step: int = 0
    shown: dict[int, Tensor] = field(default_factory=dict)  # by layer
    first: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # by step and layer, on CPU

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.first.values())


class AnchoredAttention:
    """A processor of one self-attention layer: the views also attend to the shown picture, and
    their own keys and values come half from the first moment's tokens."""

    def __init__(self, bank: Bank, layer: int) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self.bank, self.layer, self.attend = bank, layer, AttnProcessor2_0()

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: None = None, **rest: Any
    ) -> Tensor:
        bank, key, tokens = self.bank, (self.bank.step, self.layer), hidden_states
        if bank.mode == "idle":
            return self.attend(attn, tokens, **rest)
        if bank.mode == "show":
            bank.shown[self.layer] = tokens
            return self.attend(attn, tokens, **rest)
        own = tokens
        if bank.mode == "record":
            bank.first[key] = tokens.to("cpu")
        elif bank.mode == "follow":
            own = torch.lerp(tokens, bank.first[key].to(tokens), bank.fuse)
        source = torch.cat([own, bank.shown[self.layer]], dim=1)
        return self.attend(attn, tokens, encoder_hidden_states=source, **rest)


class Zero123Plus:
    """The generator. `views` of a clip's first picture come first; later ones follow them."""

    def __init__(
        self, root: Path, device: torch.device, *, steps: int = STEPS, tile: int = TILE,
        shown: int = SHOWN,
    ) -> None:  # fmt: skip
        """Read the weights; raises InputError naming what is missing or broken."""
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; --pipeline names {WHICH}")
        self.device, self.steps, self.tile, self.shown = device, steps, tile, shown
        dtype, small = precision(device)
        self.unet, self.vae, self.vision, text, tokenizer, schedule = read_parts(
            root, PARTS, WHICH, dtype, device
        )
        self.scheduler = type(schedule).from_config(schedule.config, timestep_spacing="trailing")
        self.factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.ramp = _ramp(root / "model_index.json", text.config.max_position_embeddings)
        self.words = _nothing_said(text, tokenizer)
        self.bank = Bank()
        self.seconds = 0.0  # of the last step
        if small:
            self.vae.enable_slicing()
        layers = [name for name in self.unet.attn_processors if ".attn1." in name]
        processors = dict(self.unet.attn_processors)
        processors |= {n: AnchoredAttention(self.bank, k) for k, n in enumerate(layers)}
        self.unet.set_attn_processor(processors)

    @torch.no_grad()
    def views(self, picture: Tensor, *, first: bool) -> list[Tensor]:
        """Six views (3, tile, tile) in [0, 1] of a square picture (3, H, W) on GREY."""
        if not first and not self.bank.first:
            raise ValueError("the first moment's views come first")
        source = generator(SEED, "zero123plus")
        latents, prompt = self._shown(picture, source)
        size = (ROWS * self.tile // self.factor, COLUMNS * self.tile // self.factor)
        self.scheduler.set_timesteps(self.steps, device=self.device)
        state = self._noise((1, self.unet.config.in_channels, *size), source)
        state = state * self.scheduler.init_noise_sigma
        for k, t in enumerate(self.scheduler.timesteps):
            start, self.bank.step = time.perf_counter(), k
            noised = self.scheduler.add_noise(latents, self._noise(latents.shape, source), t[None])
            both = self.scheduler.scale_model_input(torch.cat([state] * 2), t)
            self._predicted("show", self.scheduler.scale_model_input(noised, t), t, prompt)
            found = self._predicted("record" if first else "follow", both, t, prompt)
            without, with_it = found.chunk(2)
            guided = without + GUIDANCE * (with_it - without)
            state = self.scheduler.step(guided, t, state, generator=source).prev_sample
            self.seconds = time.perf_counter() - start
        self.bank.mode = "idle"
        return self._cut(state)

    def _shown(self, picture: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """(2, 4, h, w) latents and (2, L, C) prompts of no picture and of the picture."""
        pixels = (resized(picture.to(self.device), self.shown, "bilinear") - 0.5) / SPREAD
        both = torch.cat([torch.zeros_like(pixels), pixels]).to(self.vae.dtype)
        found = self.vae.encode(both).latent_dist
        latents = found.mean + found.std * self._noise(found.mean.shape, source)
        seen = embedded(self.vision, picture.to(self.device))[:, None]
        ramp = self.ramp.to(seen)[None, :, None]
        return latents, torch.cat([self.words, self.words + ramp * seen])

    def _predicted(self, mode: str, latents: Tensor, t: Tensor, prompt: Tensor) -> Tensor:
        self.bank.mode = mode
        out = self.unet(latents.to(self.unet.dtype), t, encoder_hidden_states=prompt)
        return out.sample

    def _cut(self, state: Tensor) -> list[Tensor]:
        latents = state / SHRINK + SHIFT
        image = self.vae.decode(latents / self.vae.config.scaling_factor).sample.float()
        image = (image * SPREAD / CONTRAST / 2 + 0.5).clamp(0, 1)[0]
        rows = image.split(self.tile, dim=1)
        return [view for row in rows for view in row.split(self.tile, dim=2)]

    def _noise(self, shape: tuple[int, ...], source: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=source).to(self.device, self.unet.dtype)


def _ramp(file: Path, length: int) -> Tensor:
    """How much of CLIP's embedding is added to each word."""
    with reading(file, "a pipeline's index", "download it again"):
        ramp = torch.tensor(json.loads(file.read_text())["ramping_coefficients"])
        if ramp.shape != (length,):
            raise ValueError(f"{len(ramp)} ramping_coefficients, the text encoder has {length}")
    return ramp


@torch.no_grad()
def _nothing_said(text: Any, tokenizer: Any) -> Tensor:
    """(1, L, C) the embedding of the empty prompt."""
    length = text.config.max_position_embeddings
    ids = tokenizer("", padding="max_length", max_length=length, return_tensors="pt").input_ids
    return text(ids.to(text.device)).last_hidden_state
