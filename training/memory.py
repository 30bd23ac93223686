"""How much memory a run will take, said before it starts, and how much it took."""

from __future__ import annotations

import re
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diff_gaussian_rasterization import OutOfMemoryError
from diff_gaussian_rasterization.budget import BUDGET, PAIR_BYTES

from gaussian_renderer import pair_budget, render
from scene import Scene
from scene.frames import RGBA_BYTES, Frame, readers
from training.stage import Stage
from utils.images import image_size

if TYPE_CHECKING:
    from scene.methods import MethodBase

MIB = 2**20
FLOAT = 4  # bytes
COPIES = 4  # of every learned number: value, gradient, two Adam moments
MOVING = 2  # more of a column while rows come and go: its next value, and one of the others
LIBRARIES = 128 * MIB  # loaded on first use, such as matplotlib; and freed memory that is kept
DECODE_BYTES = 21  # of a pixel of a file that is shrunk: two copies, floats and their product
WHOLE_BYTES = 9  # of one that is taken as it is
PAIRS_PER_ROW = 4  # of the rows that are born: they are small; a pair is a tile and a Gaussian
SAMPLE = 8  # views whose pairs are counted
# Of a pixel at work: 7 of its frame and 7 drawn; 18 that losses keep, SSIM's 9 and the differences
# among them; 12 of gradients, those that are added up among them.
PICTURE_FLOATS = 44


@dataclass(frozen=True)
class MemoryBound:
    """Bytes by purpose; the sums bound the peak of the process, and of its GPU memory."""

    program: int
    images: int
    reading: int  # beyond what else is there at that time
    pictures: int
    gaussians: int
    networks: int
    pairs: int  # from the forward to the backward pass
    adding: int  # while the backward pass adds gradients up
    max_gaussians: int
    device: torch.device
    beside: int = 0  # a prior that a loss asks

    @property
    def learned(self) -> dict[str, int]:
        """What lives where the model lives, by name."""
        return {
            "pictures at work": self.pictures,
            f"up to {self.max_gaussians:,} Gaussians and their optimizer": self.gaussians,
            "networks and their optimizer": self.networks,
            "tiles that Gaussians reach": self.pairs,
            "gradients being added up": self.adding,
            **({"the prior": self.beside} if self.beside else {}),
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
    how many tiles the Gaussians reach in a few views.

    Raises InputError as `pair_budget` does.
    """
    frames, device = scene.train + scene.test, next(method.parameters()).device
    pixels = [frame.camera.width * frame.camera.height for frame in frames]
    widths = [column.shape[1:].numel() for column in method.table.columns.values()]
    per_row = FLOAT * (COPIES * sum(widths) + MOVING * max(widths, default=0))
    own = sum(p.numel() for p in method.table.parameters())
    networks = sum(p.numel() for p in method.parameters()) - own
    rows, views = method.max_rows, max(stage.sampler.views for stage in stages)
    # In the program's peak so far, and in what is learned, too.
    there = FLOAT * (own + networks) if device.type == "cpu" else 0
    program = peak() + LIBRARIES - there  # before a view is drawn, whose memory is counted below
    each, budget = PAIR_BYTES.get(device.type, PAIR_BYTES["cpu"]), pair_budget(device)
    sample = scene.train[:: -(-len(scene.train) // SAMPLE)]
    pairs = _pairs(method, stages, [frame.to(device) for frame in sample])
    pairs += PAIRS_PER_ROW * (rows - len(method.table))
    if budget:  # what would take more is refused
        pairs = min(pairs, budget // (each.kept + each.adding()))
    bound = MemoryBound(
        images=min(cache_mb * MIB, RGBA_BYTES * sum(pixels)),
        reading=_reading(frames),
        pictures=views * PICTURE_FLOATS * FLOAT * max(pixels),
        gaussians=rows * (per_row + views * method.working_bytes_per_row),
        networks=COPIES * FLOAT * networks,
        pairs=views * each.kept * pairs,
        # One view's shares at a time; after them the networks' gradients beside those there are.
        beside=max(stage.holds for stage in stages),
        adding=max(each.adding() * pairs, FLOAT * networks),
        program=program,
        max_gaussians=rows,
        device=device,
    )
    if RGBA_BYTES * sum(pixels) <= cache_mb * MIB and device.type == "cpu":
        # All are read before training begins, and what was taken for it is free again.
        left = max(bound.reading + there - sum(bound.learned.values()), 0)
        return replace(bound, reading=left)
    return replace(bound, reading=bound.reading + views * RGBA_BYTES * max(pixels))  # read ahead


def _reading(frames: list[Frame]) -> int:
    """Bytes while the largest pictures are decoded and shrunk."""
    largest = 0
    for path, camera in {f.image_path: f.camera for f in frames if f.image_path}.items():
        width, height = image_size(path)
        same = (width, height) == (camera.width, camera.height)
        largest = max(largest, width * height * (WHOLE_BYTES if same else DECODE_BYTES))
    return readers() * largest


@torch.no_grad()
def _pairs(method: MethodBase, stages: list[Stage], frames: list[Frame]) -> int:
    """The most pairs of tiles and Gaussians that the untrained model has in one of the views, were
    its Gaussians as opaque as training may make them."""
    pose = next((stage.pose for stage in stages if stage.pose), None)
    if pose is None or not len(method.table):
        return 0
    most = 0
    for frame in frames:
        frame = method.prepare(frame)
        posed = pose(frame)
        opaque = replace(posed, opacities=torch.ones_like(posed.opacities))
        with suppress(OutOfMemoryError):  # they are counted all the same
            behind = method.background.to(frame.camera.K)
            render(frame.camera, opaque, behind, antialiased=method.antialiased)
        most = max(most, BUDGET.last)
    return most


def gpu_peak(device: torch.device) -> int:
    """Bytes of a GPU that this process's tensors have held at most so far; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def peak() -> int:
    """Bytes of memory that this process has held at most so far."""
    # What getrusage tells on Linux includes the process that started this one.
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
