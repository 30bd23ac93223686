"""A guidance that nobody wants: every side should be grey, more or less."""

from __future__ import annotations

import torch


class Greyish:
    bytes, seconds = 2**20, 0.0

    def __init__(self):
        self.windows = []

    def __call__(self, image, frame, window, source):
        self.windows.append(window)
        noise = torch.randn(image.shape, generator=source)
        return (image - 0.5 - 0.1 * noise).square().sum()


def open_guidance(folder, device, scale):
    return Greyish()
