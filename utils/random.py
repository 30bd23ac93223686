"""Randomness as a function of where it is used: (seed, keys) -> generator. Nothing to save or
restore, so a resumed run draws what the unbroken run would have drawn."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *keys: object) -> torch.Generator:
    """A CPU generator that depends on the seed and the keys alone."""
    digest = hashlib.sha256(repr((seed, *keys)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
