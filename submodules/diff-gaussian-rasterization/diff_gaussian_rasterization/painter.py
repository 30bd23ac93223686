"""`Painter`: many frames of one size without gradients, in buffers that are kept between frames."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diff_gaussian_rasterization import cpu, typed
from diff_gaussian_rasterization.budget import room_for
from diff_gaussian_rasterization.layout import Inputs, Saved, empty_saved

if TYPE_CHECKING:
    from diff_gaussian_rasterization.cuda import KernelsFactory


class Painter:
    """Draws frames of `width` by `height` pixels; equal to `rasterize` to the bit.

    On the CPU, image and state stay in the same memory from frame to frame. On a GPU the room for
    pairs of tiles and Gaussians is kept, so that the host waits once, at the end of a frame; from
    the second frame of the same shapes and settings on, all its launches are one CUDA graph.
    """

    def __init__(self, width: int, height: int, channels: int = 3):
        self.width, self.height, self.channels = width, height, channels
        self._brushes: dict[torch.device, Callable[[Inputs], Sequence[Tensor]]] = {}

    @torch.no_grad()
    def paint(
        self,
        means: Tensor,
        quats: Tensor | None,
        scales: Tensor | None,
        opacities: Tensor,
        *,
        viewmat: Tensor,
        K: Tensor,
        sh: Tensor | None = None,
        colors: Tensor | None = None,
        sh_degree: int = 0,
        background: Tensor | None = None,
        near: float = 0.01,
        far: float = 100.0,
        covariances: Tensor | None = None,
        antialiased: bool = False,
    ) -> typed.RasterOutput:
        """One frame; arguments and errors as `rasterize` has them.

        The tensors of the result are valid until the next call: copy what must last longer.
        """
        inputs = Inputs(
            means, quats, scales, covariances, opacities, sh, colors, None, None, viewmat,
            background, K, self.width, self.height, sh_degree, float(near), float(far), antialiased,
        )  # fmt: skip
        typed.check_inputs(inputs)
        if inputs.channels != self.channels:
            raise ValueError(f"this Painter has {self.channels} channels, found {inputs.channels}")
        if means.device not in self._brushes:
            self._brushes[means.device] = _make_brush(means.device)
        return typed.RasterOutput(*self._brushes[means.device](inputs)[:4])


def _make_brush(device: torch.device) -> Callable[[Inputs], Sequence[Tensor]]:
    if typed.why_no_kernels(device) is not None:
        return lambda inputs: typed.backend(device)(*inputs)
    if device.type == "cpu":
        return CpuBrush()
    from diff_gaussian_rasterization import cuda

    return GpuBrush(functools.partial(cuda.PROGRAM.kernels, device))


class CpuBrush:
    """Draws into the same memory while the inputs keep their shapes."""

    def __init__(self):
        self._room: Saved | None = None
        self._shapes: tuple = ()

    def __call__(self, inputs: Inputs) -> Saved:
        shapes = _shapes(inputs)
        if self._room is None or shapes != self._shapes:
            self._room, self._shapes = empty_saved(inputs, 1), shapes
        self._room = cpu.forward(inputs, self._room)
        return self._room


class GpuBrush:
    """Draws with room for a number of pairs that follows what frames need.

    kernels: as in cuda.py. From the second frame of the same shapes on, CUDA tensors are drawn by
    replaying a graph.
    """

    def __init__(self, kernels: KernelsFactory):
        from diff_gaussian_rasterization import cuda

        self.capacity = 1
        self._cuda = cuda
        self._kernels = kernels
        self._recorded: _Recorded | None = None
        self._shapes: tuple = ()

    def __call__(self, inputs: Inputs) -> Saved:
        shapes = _shapes(inputs)
        repeated, self._shapes = shapes == self._shapes, shapes
        if not repeated:
            self._recorded = None
        elif self._recorded is None and inputs.means.is_cuda:
            self._recorded = _Recorded(inputs, self._draw)
        saved, pairs = (self._recorded or self._draw)(inputs)
        needed = self._cuda.check_pairs(int(pairs), inputs.means.device)  # waits for the frame
        is_whole, room = needed <= self.capacity, room_for(needed, self.capacity)
        if room != self.capacity:
            self.capacity, self._recorded = room, None
        return saved if is_whole else self._draw(inputs)[0]

    def _draw(self, inputs: Inputs) -> tuple[Saved, Tensor]:
        return self._cuda.draw_within(inputs, self.capacity, self._kernels)


class _Recorded:
    """One frame's launches as a CUDA graph, and copies of its inputs that they read."""

    def __init__(self, inputs: Inputs, draw: Callable[[Inputs], tuple[Saved, Tensor]]):
        self._inputs = Inputs(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, such as a viewer's, may go on allocating meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._drawn = draw(self._inputs)

    def __call__(self, inputs: Inputs) -> tuple[Saved, Tensor]:
        torch._foreach_copy_(_tensors(self._inputs), _tensors(inputs))
        self._graph.replay()
        return self._drawn


def _tensors(inputs: Inputs) -> list[Tensor]:
    return [x for x in inputs if isinstance(x, Tensor)]


def _shapes(inputs: Inputs) -> tuple:
    """All that a frame's buffers and launches depend on, but for the tensors' numbers."""
    return tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in inputs)
