"""How much memory a run will take, said before it starts, and how much it took."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from gaussian_renderer import render
from scene import Scene
from scene.frames import RGBA_BYTES, Frame
from training.stage import Stage
from utils.images import image_size

if TYPE_CHECKING:
    from scene.methods import MethodBase

MIB = 2**20
FLOAT = 4  # bytes
COPIES = 4  # of every learned number: value, gradient, two Adam moments
LIBRARIES = 128 * MIB  # loaded on first use: torch's compiler (by its optimizers), matplotlib
DECODE_BYTES = 21  # of a pixel of a file that is shrunk: two copies, floats and their product
WHOLE_BYTES = 9  # of one that is taken as it is
TILE = 16  # pixels; a pair is a tile and a Gaussian that reaches it
PAIR_BYTES = 32  # sorted, drawn, and its gradients
PAIRS_PER_ROW = 4  # of the rows that are born: they are small
WORKING_IMAGES = 24  # RGBA pictures of floats alive at once: frame, render, losses, their gradients


@dataclass(frozen=True)
class MemoryBound:
    """Bytes by purpose; the sums bound the peak of the process, and of its GPU memory."""

    program: int
    images: int
    reading: int  # beyond what else is there at that time
    pictures: int
    gaussians: int
    networks: int
    pairs: int
    max_gaussians: int
    device: torch.device

    @property
    def learned(self) -> dict[str, int]:
        """What lives where the model lives, by name."""
        return {
            "pictures at work": self.pictures,
            f"up to {self.max_gaussians:,} Gaussians and their optimizer": self.gaussians,
            "networks and their optimizer": self.networks,
            "tiles that Gaussians reach": self.pairs,
        }

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Place -> what it holds: the process, and the GPU where the model is on one."""
        own = {"program": self.program, "image cache": self.images, "reading": self.reading}
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
    """Bound the peak from the pictures' sizes, the most Gaussians allowed, the networks' sizes and
    how many tiles the Gaussians of a first view reach."""
    frames, device = scene.train + scene.test, next(method.parameters()).device
    pixels = [frame.camera.width * frame.camera.height for frame in frames]
    per_row = COPIES * FLOAT * sum(c.shape[1:].numel() for c in method.table.columns.values())
    own = sum(p.numel() for p in method.table.parameters())
    rows, views = method.max_rows, max(stage.sampler.views for stage in stages)
    born = PAIRS_PER_ROW * (rows - len(method.table))
    program = peak() + LIBRARIES  # before a view is drawn, whose memory is counted below
    bound = MemoryBound(
        images=min(cache_mb * MIB, RGBA_BYTES * sum(pixels)),
        reading=_reading(frames),
        pictures=views * WORKING_IMAGES * 4 * FLOAT * max(pixels),
        gaussians=rows * (per_row + views * method.working_bytes_per_row),
        networks=COPIES * FLOAT * (sum(p.numel() for p in method.parameters()) - own),
        pairs=views * PAIR_BYTES * (_pairs(method, stages, scene.train[0].to(device)) + born),
        program=program,
        max_gaussians=rows,
        device=device,
    )
    if RGBA_BYTES * sum(pixels) <= cache_mb * MIB and device.type == "cpu":
        # All are read before training begins, and what was taken for it is free again.
        left = max(bound.reading - sum(bound.learned.values()), 0)
        return replace(bound, reading=left)
    return bound


def _reading(frames: list[Frame]) -> int:
    """Bytes while the largest picture is decoded and shrunk."""
    largest = 0
    for path, camera in {f.image_path: f.camera for f in frames if f.image_path}.items():
        width, height = image_size(path)
        same = (width, height) == (camera.width, camera.height)
        largest = max(largest, width * height * (WHOLE_BYTES if same else DECODE_BYTES))
    return largest


@torch.no_grad()
def _pairs(method: MethodBase, stages: list[Stage], frame: Frame) -> int:
    """About how many pairs of tiles and Gaussians the untrained model has in a view."""
    pose = next((stage.pose for stage in stages if stage.pose), None)
    if pose is None or not len(method.table):
        return 0
    frame = method.prepare(frame)
    behind = method.background.to(frame.camera.K)
    view = render(frame.camera, pose(frame), behind, antialiased=method.antialiased)
    across = 2 * view.radii[view.radii > 0].double() / TILE
    tiles = (frame.camera.width / TILE + 1) * (frame.camera.height / TILE + 1)
    # What a disc of this width, anywhere on the grid, reaches on average.
    reached = math.pi / 4 * across.square() + 2 * across + 1
    return int(reached.clamp(max=tiles).sum())


def gpu_peak(device: torch.device) -> int:
    """Bytes of a GPU that this process's tensors have held at most so far; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def peak() -> int:
    """Bytes of memory that this process has held at most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
