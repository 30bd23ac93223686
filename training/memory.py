"""How much memory a run will take, said before it starts, and how much it took."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from scene import Scene
from scene.frames import RGBA_BYTES
from training.stage import Stage

if TYPE_CHECKING:
    from scene.methods import MethodBase

MIB = 2**20
FLOAT = 4  # bytes
COPIES = 4  # of every learned number: value, gradient, two Adam moments
LIBRARIES = 128 * MIB  # loaded on first use: torch's compiler (by its optimizers), matplotlib
WORKING_IMAGES = 24  # RGBA pictures of floats alive at once: frame, render, losses, their gradients


@dataclass(frozen=True)
class MemoryBound:
    """Bytes by purpose; the sums bound the peak of the process, and of its GPU memory."""

    program: int
    images: int
    pictures: int
    gaussians: int
    networks: int
    max_gaussians: int
    device: torch.device

    @property
    def learned(self) -> dict[str, int]:
        """What lives where the model lives, by name."""
        return {
            "pictures at work": self.pictures,
            f"up to {self.max_gaussians:,} Gaussians and their optimizer": self.gaussians,
            "networks and their optimizer": self.networks,
        }

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Place -> what it holds: the process, and the GPU where the model is on one."""
        own = {"program": self.program, "image cache": self.images}
        if self.device.type == "cpu":
            return {"": own | self.learned}
        return {"": own, f" on {self.device}": self.learned}

    def __str__(self) -> str:
        said = []
        for place, sizes in self.parts.items():
            listed = ", ".join(f"{size / MIB:,.0f} MiB {name}" for name, size in sizes.items())
            said.append(f"{self._total(place)}{place} ({listed})")
        return f"memory: {'; '.join(said)}"

    def beside_peak(self) -> str:
        """One line: what was taken, beside what was said before."""
        taken = zip((peak(), gpu_peak(self.device)), self.parts, strict=False)
        said = [
            f"{size / MIB:,.0f} MiB{place} at the peak, {self._total(place)} expected"
            for size, place in taken
        ]
        return f"memory: {'; '.join(said)}"

    def _total(self, place: str) -> str:
        return f"at most {sum(self.parts[place].values()) / MIB:,.0f} MiB"


def expected_memory(
    scene: Scene, method: MethodBase, stages: list[Stage], cache_mb: int
) -> MemoryBound:
    """Bound the peak from the image sizes, the most Gaussians allowed and the networks' sizes."""
    pixels = [frame.camera.width * frame.camera.height for frame in scene.train + scene.test]
    per_row = COPIES * FLOAT * sum(c.shape[1:].numel() for c in method.table.columns.values())
    own = sum(p.numel() for p in method.table.parameters())
    networks = COPIES * FLOAT * (sum(p.numel() for p in method.parameters()) - own)
    rows, views = method.max_rows, max(stage.sampler.views for stage in stages)
    return MemoryBound(
        program=peak() + LIBRARIES,
        images=min(cache_mb * MIB, RGBA_BYTES * sum(pixels)),
        pictures=views * WORKING_IMAGES * 4 * FLOAT * max(pixels),
        gaussians=rows * (per_row + views * method.working_bytes_per_row),
        networks=networks,
        max_gaussians=rows,
        device=next(method.parameters()).device,
    )


def gpu_peak(device: torch.device) -> int:
    """Bytes of a GPU that this process's tensors have held at most so far; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def peak() -> int:
    """Bytes of memory that this process has held at most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
