"""How much memory a run will take, said before it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scene import Scene
from scene.methods import MethodBase

if TYPE_CHECKING:
    from arguments.settings import Settings

MIB = 2**20
FLOAT = 4  # bytes
COPIES = 4  # of every learned number: value, gradient, two Adam moments


@dataclass(frozen=True)
class MemoryBound:
    """Bytes by purpose; the sum bounds the peak of the whole process."""

    program: int
    images: int
    gaussians: int
    networks: int
    max_gaussians: int

    @property
    def total(self) -> int:
        return self.program + self.images + self.gaussians + self.networks

    def __str__(self) -> str:
        parts = {
            "program": self.program,
            "image cache": self.images,
            f"up to {self.max_gaussians:,} Gaussians and their optimizer": self.gaussians,
            "networks and their optimizer": self.networks,
        }
        listed = ", ".join(f"{size / MIB:,.0f} MiB {name}" for name, size in parts.items())
        return f"memory: at most {self.total / MIB:,.0f} MiB ({listed})"


def expected_memory(settings: Settings, scene: Scene, method: MethodBase) -> MemoryBound:
    """Bound the peak from the image sizes, the most Gaussians allowed and the networks' sizes."""
    pixels = [frame.camera.width * frame.camera.height for frame in scene.train]
    images = min(settings.run.cache_mb * MIB, 4 * sum(pixels))
    per_row = COPIES * FLOAT * sum(c[0].numel() for c in method.table.columns.values())
    own = sum(p.numel() for p in method.table.parameters())
    networks = COPIES * FLOAT * (sum(p.numel() for p in method.parameters()) - own)
    rows = method.max_rows
    return MemoryBound(
        program=resident() + WORKING_IMAGES * 4 * FLOAT * max(pixels),
        images=images,
        gaussians=rows * (per_row + method.working_bytes_per_row),
        networks=networks,
        max_gaussians=rows,
    )


WORKING_IMAGES = 24  # pictures of floats alive at once: frame, render, losses and their gradients


def resident() -> int:
    """Bytes of memory this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
