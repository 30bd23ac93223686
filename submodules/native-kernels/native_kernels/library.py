"""A package's shared libraries: found, checked, and the one for this processor loaded."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from native_kernels.sources import VARIANTS, source_hash


class Library:
    """The kernels of one package, one library per variant; loaded at the first use.

    folder: the package's, with its csrc and its libraries. declare: told of each library that is
    loaded, to set the types of its functions. The environment variable <PACKAGE>_VARIANT chooses a
    variant; without it the best one that the processor can run is taken.
    """

    def __init__(self, folder: Path, declare: Callable[[ctypes.CDLL], None]):
        self.folder, self.declare = folder, declare
        self.variable = f"{folder.name.upper()}_VARIANT"
        self._project = folder.name.replace("_", "-")
        self._open: dict[str, ctypes.CDLL] = {}
        self._chosen: str | None = None

    def why_not(self) -> str | None:
        """None where native code was built with the package, else one sentence that says why
        not."""
        if self._path("portable").exists():
            return None
        return (
            f"{self._project} was built without a C++ compiler; install one or the ziglang wheel, "
            "and reinstall it"
        )

    def load(self) -> ctypes.CDLL:
        """The library in use. ImportError says what is wrong with it and how to mend that."""
        if self._chosen is None:
            if wanted := os.environ.get(self.variable):
                self.choose(wanted, self.variable)
            else:
                self.choose(self._variants_here()[-1])
        return self._open[self._chosen]

    def variant(self) -> str:
        """Name of the kernels in use: avx512, avx2 or portable."""
        self.load()
        return self._chosen

    def choose(self, name: str, what: str = "the variant") -> None:
        """Use the kernels `name` from now on; ValueError where there are none that run here.

        what: who says so, for the message.
        """
        if name not in self._variants_here():
            built = [each for each in reversed(VARIANTS) if self._path(each).exists()]
            raise ValueError(
                f"{what} is {name!r}, which this processor cannot run"
                if name in built
                else f"{what} is {name!r}; this build has {', '.join(built)}"
            )
        self._opened(name)
        self._chosen = name

    def _variants_here(self) -> list[str]:
        """Those that are built and that this processor can run, worst first."""
        level = self._opened("portable").native_level()
        return [name for name in list(VARIANTS)[: level + 1] if self._path(name).exists()]

    def _path(self, variant: str) -> Path:
        return self.folder / f"_{variant}.so"

    def _opened(self, variant: str) -> ctypes.CDLL:
        if variant not in self._open:
            self._open[variant] = self._checked(self._path(variant))
        return self._open[variant]

    def _checked(self, path: Path) -> ctypes.CDLL:
        """The library at `path`, if it loads and was built from the sources that are here."""
        remedy = f"rebuild it: pip install --no-build-isolation ./submodules/{self._project}"
        try:
            library = ctypes.CDLL(str(path))
            library.native_sources.restype = ctypes.c_char_p
            built_from = library.native_sources().decode()
        except (OSError, AttributeError) as error:
            raise ImportError(f"{path} cannot be loaded ({error}); {remedy}") from error
        sources = source_hash(self.folder / "csrc")
        if built_from != sources:
            raise ImportError(
                f"{path} was built from other sources than those that are here "
                f"({built_from}, not {sources}); {remedy}"
            )
        self.declare(library)
        return library
