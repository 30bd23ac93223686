"""All renders of a sweep of expressions as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scene.avatar import SWEEP
from utils.images import contact_sheet, labelled, read_image, resize_premultiplied, write_image

CELL = 128  # pixels, width of a picture in the grid
MOST_ROWS = 20  # of a block of the grid


def write_grid(folder: Path, n_rows: int) -> None:
    """`folder`/grid.png: a row per coefficient, in blocks side by side."""
    columns = len(SWEEP)
    files = sorted((folder / "renders").glob("*.png"))[: n_rows * columns]
    small = [
        resize_premultiplied(p, CELL, CELL * p.shape[0] // p.shape[1])
        for p in map(read_image, files)
    ]
    rows = [small[k * columns : (k + 1) * columns] for k in range(n_rows)]
    rows = [[labelled(row[0], str(k)), *row[1:]] for k, row in enumerate(rows)]
    captions = ["low", *(f"{part:+g}" if part else "mean" for part in SWEEP[1:-1]), "high"]
    blocks = [rows[k : k + MOST_ROWS] for k in range(0, n_rows, MOST_ROWS)]
    blank = [np.full_like(small[0], 255)] * columns
    blocks[-1] += [blank] * (len(blocks[0]) - len(blocks[-1]))
    table = [[cell for row in across for cell in row] for across in zip(*blocks, strict=True)]
    write_image(folder / "grid.png", contact_sheet(table, captions * len(blocks)))
    print(f"novel_expression: {folder / 'grid.png'}")
