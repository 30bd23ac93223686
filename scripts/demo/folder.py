"""A folder of generated data: it appears at once and whole, and a damaged one is made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from utils.errors import InputError
from utils.files import PART, new_folder, write_json


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
    # What a killed run left is replaced, too.
    _read_marker(out.with_name(out.name + PART), marker, content["made_by"])
    with new_folder(out, "free some space there or choose another folder with --out") as part:
        write_json(part / marker, content)  # first: a killed run leaves a folder known as ours
        write(part)
        files = sorted(str(f.relative_to(part)) for f in part.rglob("*") if f.is_file())
        write_json(part / marker, {**content, "files": files})
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
