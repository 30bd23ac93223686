"""`--help` in a blink: it needs no library, but settings are declared beside code that does.

While nothing but help was asked for, `import torch` and its like give stand-ins: classes that bear
to be named, called, subclassed and computed with while modules are imported, and mean nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

LIBRARIES = {
    *("torch", "numpy", "cv2", "scipy", "safetensors", "plyfile", "PIL", "imageio", "tqdm"),
    *("diff_gaussian_rasterization", "fused_fields", "simple_knn"),
}
HELP = {"-h", "--help"}
# What help says depends on these, and finding it out takes the libraries.
FOLDERS = {"-s", "--source_path", "-m", "--model_path"}


def only_help(argv: Sequence[str]) -> bool:
    """Whether a command line asks for help, and for no dataset's and no model's."""
    names = {word.split("=")[0] for word in argv}
    return bool(names & HELP) and not names & FOLDERS


def stand_in() -> None:
    """From now on the libraries are stand-ins. For a process that prints help and ends."""
    sys.meta_path.insert(0, _Finder())


class _Thing(type):
    """A class that stands for a class, a function or a number."""

    def __getattr__(cls, name: str) -> _Thing:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Thing(name, (), {})

    def __call__(cls, *given: Any, **named: Any) -> Any:
        decorates = len(given) == 1 and isinstance(given[0], FunctionType | type)
        return given[0] if decorates else cls

    def __iter__(cls) -> Any:
        return iter(())


for _operation in ("add", "sub", "mul", "truediv", "floordiv", "pow", "lshift", "getitem", "neg"):
    for _side in ("", "r"):
        setattr(_Thing, f"__{_side}{_operation}__", lambda cls, *others: cls)


class _Library(ModuleType):
    def __getattr__(self, name: str) -> _Thing:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Thing(name, (), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        ours = name.partition(".")[0] in LIBRARIES
        return ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Library(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...
