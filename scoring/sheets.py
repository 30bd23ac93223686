"""All renders of a folder as one picture: a sweep of expressions, or moments from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene.avatar import SWEEP
from utils.images import (
    Pixels,
    contact_sheet,
    labelled,
    read_image,
    resize_premultiplied,
    write_image,
)

CELL = 128  # pixels, width of a picture in the grid of expressions
SIDE = 192  # of one in the sheet of sides
MOST_ROWS = 20  # of a block of the grid


def write_grid(folder: Path, names: Sequence[str]) -> None:
    """`folder`/grid.png: a row for each name of what is swept, in blocks side by side."""
    columns, n_rows = len(SWEEP), len(names)
    rows = _rows(folder, n_rows, CELL)
    blank = [np.full_like(rows[0][0], 255)] * columns
    rows = [[labelled(r[0], name), *r[1:]] for r, name in zip(rows, names, strict=True)]
    captions = ["low", *(f"{part:+g}" if part else "mean" for part in SWEEP[1:-1]), "high"]
    blocks = [rows[k : k + MOST_ROWS] for k in range(0, n_rows, MOST_ROWS)]
    blocks[-1] += [blank] * (len(blocks[0]) - len(blocks[-1]))
    table = [[cell for row in across for cell in row] for across in zip(*blocks, strict=True)]
    write_image(folder / "grid.png", contact_sheet(table, captions * len(blocks)))
    print(f"novel_expression: {folder / 'grid.png'}")


def write_sides(folder: Path, times: Sequence[float]) -> None:
    """`folder`/sides.png: a row per moment, of these times, and a column per side."""
    rows = _rows(folder, len(times), SIDE)
    captions = [f"{k + 1} of {len(rows[0])}" for k in range(len(rows[0]))]
    table = [[labelled(r[0], f"{t:.2f}"), *r[1:]] for r, t in zip(rows, times, strict=True)]
    write_image(folder / "sides.png", contact_sheet(table, captions))
    print(f"sides: {folder / 'sides.png'}")


def _rows(folder: Path, count: int, width: int) -> list[list[Pixels]]:
    """The renders of a folder, in so many rows, each picture this wide."""
    found = [read_image(file) for file in sorted((folder / "renders").glob("*.png"))]
    small = [resize_premultiplied(p, width, width * p.shape[0] // p.shape[1]) for p in found]
    length = len(small) // count
    return [small[k * length : (k + 1) * length] for k in range(count)]
