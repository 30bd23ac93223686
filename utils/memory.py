"""How much memory a run will take, said before it starts, and how much it took."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

from scene import Scene
from scene.frames import RGBA_BYTES
from scene.methods import MethodBase
from scene.stage import Stage

MIB = 2**20
FLOAT = 4  # bytes
COPIES = 4  # of every learned number: value, gradient, two Adam moments
LIBRARIES = 128 * MIB  # loaded on first use: torch's compiler (by its optimizers), matplotlib
WORKING_IMAGES = 24  # RGBA pictures of floats alive at once: frame, render, losses, their gradients


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

    def beside_peak(self) -> str:
        """One line: what the process took, beside what was said before."""
        return f"memory: {peak() / MIB:,.0f} MiB at the peak, at most {self.total / MIB:,.0f} MiB expected"


def expected_memory(
    scene: Scene, method: MethodBase, stages: list[Stage], cache_mb: int
) -> MemoryBound:
    """Bound the peak from the image sizes, the most Gaussians allowed and the networks' sizes."""
    pixels = [frame.camera.width * frame.camera.height for frame in scene.train + scene.test]
    per_row = COPIES * FLOAT * sum(c[0].numel() for c in method.table.columns.values())
    own = sum(p.numel() for p in method.table.parameters())
    networks = COPIES * FLOAT * (sum(p.numel() for p in method.parameters()) - own)
    rows, views = method.max_rows, max(stage.batch_size for stage in stages)
    return MemoryBound(
        program=peak() + LIBRARIES + views * WORKING_IMAGES * 4 * FLOAT * max(pixels),
        images=min(cache_mb * MIB, RGBA_BYTES * sum(pixels)),
        gaussians=rows * (per_row + views * method.working_bytes_per_row),
        networks=networks,
        max_gaussians=rows,
    )


def peak() -> int:
    """Bytes of memory that this process has held at most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
