"""Pickle streams as plain data: nothing that they name is imported or called.

`pickle.load` runs what a stream asks for. Here a global becomes a `Global`, a call a `Record`;
what they stand for is up to the reader (scene/head/array_records.py), which knows arrays only.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

MAX_OPCODES = 200_000  # a head model has thousands; a stream of more is not one
# Of integers: larger ones can be chosen to meet in a dict, which takes quadratic time.
MAX_KEY = MAX_OPCODES
# Floats may have one hash, too. Nested tuples are no keys: their hash takes time without bound, and
# can exhaust the stack of C.
KEYS = (str, bytes, int, type(None))
# Objects registered by number, buffers outside the stream, sets, calls with named arguments.
REFUSED = (
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.NEWOBJ_EX),
)


class RefusedPickle(ValueError):
    """The stream is damaged, or asks for something that is not plain data."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function that a stream refers to."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Record:
    """A call that a stream asks for and that was not made."""

    function: Global
    args: tuple
    state: object = None
    pairs: list[tuple] = field(default_factory=list)  # set by item, as an OrderedDict is


@dataclass(frozen=True, eq=False, repr=False)
class Persistent:
    """A reference to something outside the stream, such as a torch storage."""

    key: object


def parse_pickle(stream: BinaryIO, allowed: Callable[[Global], bool]) -> object:
    """The object of the pickle at `stream`, which is left right behind it.

    Raises `RefusedPickle` at the first global for which `allowed` is false.
    """
    try:
        return _Recorder(stream, allowed).load()
    except RefusedPickle:
        raise
    except Exception as error:  # whatever a damaged stream makes the parser stumble over
        raise RefusedPickle(f"not a whole pickle ({str(error) or 'no end'})") from error


def with_plain_keys(pairs: list[tuple]) -> list[tuple]:
    """`pairs`, whose first parts may then be keys of a dict."""
    if not all(isinstance(key, KEYS) for key, _ in pairs):
        raise RefusedPickle("a dict has a key that is neither text nor an integer")
    if any(isinstance(key, int) and abs(key) > MAX_KEY for key, _ in pairs):
        raise RefusedPickle(f"a dict has a key beyond {MAX_KEY:,}")
    return pairs


class _Recorder(pickle._Unpickler):
    """The standard unpickler without its imports and calls; its methods are Python's own names."""

    def __init__(self, stream: BinaryIO, allowed: Callable[[Global], bool]):
        super().__init__(stream, encoding="latin1")  # texts of Python 2 hold the bytes of arrays
        self.allowed = allowed
        self.memo = _Memo()
        self.dispatch = _Instructions(HANDLERS)

    def find_class(self, module: str, name: str) -> Global:
        found = Global(module, name)
        if not self.allowed(found):
            raise RefusedPickle(f"it asks for {found}; only arrays are read and no code is run")
        return found

    def persistent_load(self, pid: object) -> Persistent:
        return Persistent(pid)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        if not isinstance(self.stack[-1], Global) or not isinstance(args, tuple):
            raise RefusedPickle("it calls something that is not a known function")
        self.stack[-1] = Record(self.stack[-1], args)

    def _instantiate(self, klass: object, args: list) -> None:
        self.stack += [klass, tuple(args)]
        self.load_reduce()

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Record):
            raise RefusedPickle("it changes the inside of something that is not an array")
        self.stack[-1].state = state

    def load_dict(self) -> None:
        flat = self.pop_mark()
        self.append({})
        self.set_items(flat)

    def load_setitem(self) -> None:
        self.set_items([self.stack.pop(-2), self.stack.pop()])

    def load_setitems(self) -> None:
        self.set_items(self.pop_mark())

    def set_items(self, flat: list) -> None:
        target = self.stack[-1]
        pairs = with_plain_keys(list(zip(flat[::2], flat[1::2], strict=True)))
        if isinstance(target, Record):
            target.pairs += pairs
        elif isinstance(target, dict):
            target.update(pairs)
        else:
            raise RefusedPickle("it sets items of something that is not a dict")

    def load_frame(self) -> None:
        self.read(8)  # a hint on reading ahead, which would move the stream beyond its pickle

    def load_bytearray8(self) -> None:
        count = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(count)))  # Python's own allocates first and then reads


class _Memo(dict):
    """What a stream stores to refer to it again, by numbers that writers count from 0."""

    def __setitem__(self, number: int, value: object) -> None:
        if number > MAX_KEY:
            raise RefusedPickle(f"it stores something under a number beyond {MAX_KEY:,}")
        super().__setitem__(number, value)


class _Instructions(dict):
    """Handlers by opcode, within the limit on their number."""

    left = MAX_OPCODES

    def __getitem__(self, opcode: int) -> Callable[[_Recorder], None]:
        self.left -= 1
        if self.left < 0:
            raise RefusedPickle(f"more than {MAX_OPCODES:,} instructions")
        return super().__getitem__(opcode)

    def __missing__(self, opcode: int) -> Callable[[_Recorder], None]:
        raise RefusedPickle(f"the instruction {opcode:#x} has no place in a file of arrays")


# Python finds its handlers in a table, by opcode, and not by their names.
HANDLERS = {
    opcode: getattr(_Recorder, handler.__name__)
    for opcode, handler in pickle._Unpickler.dispatch.items()
    if bytes([opcode]) not in REFUSED
}
HANDLERS[pickle.NEWOBJ[0]] = _Recorder.load_reduce  # a class and its arguments, as there
