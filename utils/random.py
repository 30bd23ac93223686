"""Randomness as a function of where it is used: (seed, keys) -> generator. Nothing to save or
restore, so a resumed run draws what the unbroken run would have drawn."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *keys: object) -> torch.Generator:
    """A CPU generator that depends on the seed and the keys alone."""
    return torch.Generator().manual_seed(int.from_bytes(_digest(seed, keys), "little", signed=True))


def uniform(seed: int, *keys: object) -> float:
    """A number in [0, 1) that depends on the seed and the keys alone, and on no tensor."""
    return (int.from_bytes(_digest(seed, keys), "little") >> 11) / 2**53


def _digest(seed: int, keys: tuple[object, ...]) -> bytes:
    return hashlib.sha256(repr((seed, *keys)).encode()).digest()[:8]
