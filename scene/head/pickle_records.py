"""Pickle streams as plain data: opcodes are parsed, nothing they name is imported or called.

`pickle.load` runs what a stream asks for. Here a global becomes a `Global`, a call a `Record`; what
they stand for is up to the reader (scene/head/array_records.py), which knows arrays and nothing else.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

MAX_OPCODES = 5_000_000  # a head model has thousands; a stream of more is not one

# Opcodes whose argument is the value itself.
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
MARK = object()


class RefusedPickle(ValueError):
    """The stream is damaged, or asks for something that is not plain data."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function that a stream refers to."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """A call that a stream asks for and that was not made."""

    function: Global
    args: tuple
    state: object = None
    pairs: list[tuple] = field(default_factory=list)  # set by item, as an OrderedDict is


@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something outside the stream, such as a torch storage."""

    key: object


def parse_pickle(stream: BinaryIO, allowed: Callable[[Global], bool]) -> object:
    """The object of the pickle at `stream`, which is left right behind it.

    Raises `RefusedPickle` at the first global for which `allowed` is false.
    """
    return _Machine(allowed).run(stream)


class _Machine:
    """The pickle stack machine without its imports and calls."""

    def __init__(self, allowed: Callable[[Global], bool]):
        self.allowed = allowed
        self.stack: list = []
        self.memo: dict[int, object] = {}

    def run(self, stream: BinaryIO) -> object:
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if opcode.name == "STOP":
                    return self.stack.pop()
                if count >= MAX_OPCODES:
                    raise RefusedPickle(f"more than {MAX_OPCODES:,} instructions")
                self.step(opcode.name, argument)
        except RefusedPickle:
            raise
        except Exception as error:  # whatever a damaged stream makes the parser stumble over
            raise RefusedPickle(f"not a whole pickle ({error})") from error
        raise RefusedPickle("not a whole pickle (no end)")

    def step(self, name: str, argument: object) -> None:
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in HANDLERS:
            HANDLERS[name](self, argument)
        else:
            raise RefusedPickle(f"the instruction {name} has no place in a file of arrays")

    def since_mark(self) -> list:
        """What lies above the last mark; both leave the stack."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                values = self.stack[i + 1 :]
                del self.stack[i:]
                return values
        raise RefusedPickle("a mark is missing")

    def top(self, count: int) -> list:
        values = self.stack[len(self.stack) - count :]
        if len(values) < count or any(value is MARK for value in values):
            raise RefusedPickle("the stack is too short")
        del self.stack[len(self.stack) - count :]
        return values

    def push_global(self, module: object, name: object) -> None:
        found = Global(str(module), str(name))
        if not self.allowed(found):
            raise RefusedPickle(f"it asks for {found}; only arrays are read and no code is run")
        self.stack.append(found)

    def push_call(self, function: object, args: object) -> None:
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise RefusedPickle("it calls something that is not a known function")
        self.stack.append(Record(function, args))

    def target(self) -> object:
        if not self.stack:
            raise RefusedPickle("the stack is too short")
        return self.stack[-1]

    def extend(self, values: list) -> None:
        target = self.target()
        if not isinstance(target, list):
            raise RefusedPickle("it appends to something that is not a list")
        target.extend(values)

    def set_items(self, flat: list) -> None:
        target = self.target()
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        if isinstance(target, Record):
            target.pairs.extend(pairs)
        elif isinstance(target, dict):
            target.update(_keyed(pairs))
        else:
            raise RefusedPickle("it sets items of something that is not a dict")

    def build(self) -> None:
        (state,) = self.top(1)
        target = self.target()
        if not isinstance(target, Record):
            raise RefusedPickle("it changes the inside of something that is not an array")
        target.state = state

    def remember(self, key: object) -> None:
        self.memo[key] = self.target()

    def recall(self, key: object) -> None:
        self.stack.append(self.memo[key])

    def instance(self, argument: str) -> None:
        args = tuple(self.since_mark())
        self.push_global(*argument.split(" ", 1))
        self.push_call(self.stack.pop(), args)

    def object_of_class(self, _: object) -> None:
        function, *args = self.since_mark()
        self.push_call(function, tuple(args))

    def new_object_with_names(self, _: object) -> None:
        function, args, names = self.top(3)
        if names:
            raise RefusedPickle("it builds an object with named arguments")
        self.push_call(function, args)


def _keyed(pairs: list[tuple]) -> dict:
    if any(not isinstance(key, str | bytes | int | float | None) for key, _ in pairs):
        raise RefusedPickle("a dict has a key that is neither text nor a number")
    return dict(pairs)


def _marked_dict(machine: _Machine) -> dict:
    flat = machine.since_mark()
    return _keyed(list(zip(flat[::2], flat[1::2], strict=True)))


HANDLERS: dict[str, Callable[[_Machine, object], object]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "MARK": lambda m, a: m.stack.append(MARK),
    "POP": lambda m, a: m.stack.pop(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.stack.append(m.target()),
    "EMPTY_LIST": lambda m, a: m.stack.append([]),
    "EMPTY_DICT": lambda m, a: m.stack.append({}),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.stack.append(tuple(m.top(1))),
    "TUPLE2": lambda m, a: m.stack.append(tuple(m.top(2))),
    "TUPLE3": lambda m, a: m.stack.append(tuple(m.top(3))),
    "LIST": lambda m, a: m.stack.append(m.since_mark()),
    "DICT": lambda m, a: m.stack.append(_marked_dict(m)),
    "APPEND": lambda m, a: m.extend(m.top(1)),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: m.set_items(m.top(2)),
    "SETITEMS": lambda m, a: m.set_items(m.since_mark()),
    "GLOBAL": lambda m, a: m.push_global(*a.split(" ", 1)),
    "STACK_GLOBAL": lambda m, a: m.push_global(*m.top(2)),
    "INST": lambda m, a: m.instance(a),
    "OBJ": lambda m, a: m.object_of_class(a),
    "REDUCE": lambda m, a: m.push_call(*m.top(2)),
    "NEWOBJ": lambda m, a: m.push_call(*m.top(2)),
    "NEWOBJ_EX": lambda m, a: m.new_object_with_names(a),
    "BUILD": lambda m, a: m.build(),
    "PUT": lambda m, a: m.remember(a),
    "BINPUT": lambda m, a: m.remember(a),
    "LONG_BINPUT": lambda m, a: m.remember(a),
    "MEMOIZE": lambda m, a: m.remember(len(m.memo)),
    "GET": lambda m, a: m.recall(a),
    "BINGET": lambda m, a: m.recall(a),
    "LONG_BINGET": lambda m, a: m.recall(a),
    "PERSID": lambda m, a: m.stack.append(Persistent(a)),
    "BINPERSID": lambda m, a: m.stack.append(Persistent(*m.top(1))),
}
