"""`.4dgs`: key-frames and integer differences, through the package of that name's authors.

Its file of key-frames knows colours without direction. Between moments Gaussians move in a
straight line; turns and sizes step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from export.about import About
from export.axes import Y_UP
from export.columns import Columns, columns_of, gaussians_of
from scene.gaussian_model import Gaussians
from utils.errors import InputError
from utils.files import read_bytes, reading, replacing
from utils.sh import C0

AXES, MOVES, MOMENTS = Y_UP, True, 30
FOREVER = 1.0  # seconds after the end: the last moment is in its Gaussians' window, too
STEADY = 100.0  # widths in time, in lengths of the whole: nothing fades between two moments


def write_moving(path: Path, frames: Sequence[Gaussians], about: About) -> None:
    """Write moments with the same rows, evenly over its seconds."""
    library = _library()
    moments = [columns_of(gaussians) for gaussians in frames]
    seconds = about.seconds
    step = seconds / (len(moments) - 1)
    samples = []
    for k, columns in enumerate(moments):
        n, after = len(columns), moments[min(k + 1, len(moments) - 1)]
        state = library.GaussianSet(
            positions=columns.means,
            scales=columns.scales,
            rotations=columns.quats[:, [1, 2, 3, 0]],
            colors=np.column_stack([np.clip(columns.rgb, 0, 1), columns.opacities]),
            motions=((after.means - columns.means) / step).astype(np.float32),
            mu_t=np.full(n, k * step, np.float32),
            sigma_t=np.full(n, STEADY * seconds, np.float32),
            win_lo=np.zeros(n),
            win_hi=np.full(n, seconds + FOREVER),
        )
        samples.append(library.Sample(k * step, np.arange(n), state))
    data = library.write_sequence(samples, seconds + step, library="gaussian-4d-toolkit")
    with replacing(path) as part:
        part.write_bytes(data)


def read_moving(path: Path, part: float) -> Gaussians:
    """The moment at `part` in [0, 1] of what `write_moving` wrote; InputError where damaged."""
    library, data = _library(), read_bytes(path)
    with reading(path, "a .4dgs file of key-frames"):
        found = library.decode_streamed(data)
        seconds = found.chunks[-1].t0
        state = library.render_at(found, part * seconds)
        sh = (np.asarray(state["rgb"])[:, None] - 0.5) / C0
        return gaussians_of(
            Columns(
                state["centers"], state["rotations"][:, [3, 0, 1, 2]], state["scales"],
                state["opacity"], sh,
            )
        )  # fmt: skip


def _library() -> SimpleNamespace:
    try:
        from fourdgs import GaussianSet  # here: only those who write such files need it
        from fourdgs.keyframe_delta_file import decode_streamed, render_at, write_sequence
        from fourdgs.keyframe_delta_writer import Sample
    except ImportError:
        raise InputError(
            ".4dgs needs its authors' package: pip install -r requirements-viewer.txt"
        ) from None
    return SimpleNamespace(
        GaussianSet=GaussianSet, Sample=Sample, write_sequence=write_sequence,
        decode_streamed=decode_streamed, render_at=render_at,
    )  # fmt: skip
