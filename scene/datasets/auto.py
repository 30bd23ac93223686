"""`--dataset auto`: the folder itself says of which family it is.

Every reader's `recognise` looks for what only its family has, so that at most one answers. Where
two do (a folder that was converted in place), nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from scene import Scene
from utils.errors import InputError

if TYPE_CHECKING:
    from arguments.settings import ModelParams


@dataclass(frozen=True)
class Family:
    """A family of datasets that a folder was found to be of, and the words for why."""

    name: str
    why: str
    reader: ModuleType


def read(path: Path, params: ModelParams) -> Scene:
    """Read the folder as what it is; one printed line says as what and why."""
    family = recognised(path)
    print(f"{path}: read as {family.name} ({family.why})")
    return family.reader.read(path, params)


def recognised(path: Path) -> Family:
    """The family of a folder.

    Raises InputError where none or several fit, or where a file that would tell is broken.
    """
    readers = families()
    answers = {name: reader.recognise(path) for name, reader in readers.items()}
    found = [Family(name, why, readers[name]) for name, why in answers.items() if why]
    if not found:
        wanted = "; ".join(f"{name}: {reader.LOOKED_FOR}" for name, reader in readers.items())
        raise InputError(
            f"{path}: no family of datasets recognised. Looked for {wanted}. See data/README.md"
        )
    if len(found) > 1:
        fitting = " and ".join(f"{family.name} ({family.why})" for family in found)
        raise InputError(f"{path}: it looks like {fitting}; name the one you mean with --dataset")
    return found[0]


def families() -> dict[str, ModuleType]:
    """The readers that recognise their folders, by name: every file here but this one."""
    here = Path(__file__)
    names = sorted(path.stem for path in here.parent.glob("[!_]*.py") if path != here)
    return {name: import_module(f"scene.datasets.{name}") for name in names}
