"""A folder of generated data that appears at once and whole, and is made again when it is damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from utils.errors import InputError
from utils.files import write_json


def make_folder(out: Path, marker: str, content: dict, write: Callable[[Path], None]) -> bool:
    """Let `write` fill `out`; False where it was there already, whole and from the same `content`.

    Args:
        marker: name of the JSON file that says whose the folder is.
        content: what that file holds beside the list of all files: `made_by`, and what the data
            depends on.

    Raises:
        InputError: `out` exists and its marker is not ours, or it cannot be written.
    """
    out = out.resolve()
    found = _read_marker(out, marker, content["made_by"])
    files = found.pop("files", []) if found else []
    if files and found == content and all((out / file).is_file() for file in files):
        return False
    partial = out.with_name(f"{out.name}.partial")
    if _read_marker(partial, marker, content["made_by"]) is not None:
        shutil.rmtree(partial)  # left by a run that was killed
    try:
        partial.mkdir(parents=True)
        # The marker comes first: it lets the next run clean up after a killed one.
        write_json(partial / marker, content)
        write(partial)
        files = sorted(str(f.relative_to(partial)) for f in partial.rglob("*") if f.is_file())
        write_json(partial / marker, {**content, "files": files})
        if out.exists():
            shutil.rmtree(out)
        os.replace(partial, out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}); free some space there or "
            "choose another folder with --out"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _read_marker(folder: Path, marker: str, made_by: str) -> dict | None:
    """What our marker says; None where there is nothing yet. InputError for a foreign folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        content = json.loads((folder / marker).read_text(encoding="utf-8"))
        if content["made_by"] == made_by:
            return content
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise InputError(
        f"{folder}: exists but has no readable {marker}, so it was not made by {made_by}; move it "
        "away or choose another folder with --out"
    )
