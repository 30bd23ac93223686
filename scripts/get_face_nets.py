"""Fetch the nets that find faces, their points, irises, palms and outlines, once.

They lie in the PyPI wheel `mediapipe` 0.10.21 (Apache-2.0), which is downloaded by pip, checked
against its SHA-256, opened as a zip file, and never installed. Nothing is downloaded afterwards.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from capture.nets import FOLDER, LICENCE_FILE, NETS, missing
from scripts.pinned_archive import PinnedArchive
from utils.files import new_folder

ARCHIVE = PinnedArchive(
    requirement="mediapipe==0.10.21",
    name="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    choice="--only-binary=:all:",
    # The nets are the same in the wheels of all machines; one of them is pinned.
    platform=("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"),
)
PLACE, LICENCE = "mediapipe/modules/", "mediapipe-0.10.21.dist-info/LICENSE"


def main() -> None:
    ARCHIVE.command(__doc__, FOLDER, "folder", get_nets)


def get_nets(out: Path, archive: Path | None, *, force: bool) -> None:
    """Write the nets to `out` unless they are there; raises `InputError` naming what failed."""
    if not missing(out) and not force:
        return
    with tempfile.TemporaryDirectory() as folder:
        content = ARCHIVE.read(archive or ARCHIVE.download(Path(folder)))
    with (
        zipfile.ZipFile(io.BytesIO(content)) as wheel,
        new_folder(out, "free some space there or choose another folder with --out") as part,
    ):
        for name, place in NETS.items():
            (part / f"{name}.tflite").write_bytes(wheel.read(f"{PLACE}{place}.tflite"))
        (part / LICENCE_FILE).write_bytes(wheel.read(LICENCE))
    print(f"wrote {len(NETS)} nets (Apache-2.0) to {out}")


if __name__ == "__main__":
    main()
