"""`--dataset auto`: the folder itself says of which family it is.

Every reader's `recognise` looks for what only its family has, so that at most one answers. Where
two do (a folder that was converted in place), nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from scene.datasets._settings import part_of
from utils.errors import InputError


@dataclass(frozen=True)
class Family:
    """A family of datasets that a folder was found to be of, and the words for why."""

    name: str
    why: str
    reader: ModuleType


def announced(path: Path) -> Family:
    """The family of a folder, and one printed line that says it. Raises as `recognised` does."""
    family = recognised(path)
    print(f"{path}: read as {family.name} ({family.why})")
    return family


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


def params_of(dataset: str) -> type:
    """The settings of a reader; those of all readers together for "auto"."""
    return _all_params() if dataset == "auto" else families()[dataset].DataParams


@cache
def _all_params() -> type:
    @dataclass(frozen=True)
    class DataParams(*(reader.DataParams for reader in families().values())):
        """How the folder is read; which of these have a use depends on its family."""

        part: str = part_of("all", "person", "head")

    return DataParams
