"""Arrays out of the records of a pickle (pickle_records.py), without numpy's own unpickling.

chumpy and scipy objects come back as the arrays they hold, torch tensors as numpy arrays; none of
these packages is needed.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from operator import index

import numpy as np

from scene.head.pickle_records import (
    Global,
    Persistent,
    Record,
    RefusedPickle,
    parse_pickle,
    with_plain_keys,
)

MAX_BYTES = 2**30  # of a file, and of all arrays made from it
MAX_LEAVES = 10_000_000  # numbers, texts and arrays, counted as often as they are referred to
MAX_DEPTH = 64
MAX_DENSE = 2**24  # entries of a sparse matrix written out; joints x vertices are far fewer
# What damaged bytes make the code below stumble over.
DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
NUMBERS = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248]|[SU]\d{1,4})")
TORCH_DTYPES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}  # fmt: skip


def _allowed(found: Global) -> bool:
    return str(found) in BUILDERS or str(found) in CLASSES or _is_chumpy(found)


def _is_chumpy(found: Global) -> bool:
    return found.module.split(".")[0] == "chumpy"


class ArrayBuilder:
    """Turns the records of one file into arrays, within limits on size, depth and count.

    `storages` holds the members of a torch archive, by key.
    """

    def __init__(self) -> None:
        self.storages: dict[str, bytes] = {}
        self.bytes_made = 0
        self.done: dict[int, tuple[object, int]] = {}  # by id of the record: value, leaves
        self.open: set[int] = set()  # records being built, to tell cycles
        self.kept: list = []  # keeps the ids in `done` from being used again

    def pickle(self, stream: io.BytesIO) -> object:
        root = parse_pickle(stream, _allowed)
        self.kept.append(root)
        return self.value(root)[0]

    def value(self, node: object) -> tuple[object, int]:
        """A node of the parsed tree with its arrays built, and how many leaves it has."""
        if not isinstance(node, list | tuple | dict | Record | Persistent):
            return node, 1
        if id(node) in self.done:
            return self.done[id(node)]
        if id(node) in self.open or len(self.open) >= MAX_DEPTH:
            raise RefusedPickle("its parts contain each other or are nested too deeply")
        self.open.add(id(node))
        self.done[id(node)] = result = self.build(node)
        self.open.discard(id(node))
        if result[1] > MAX_LEAVES:
            raise RefusedPickle(f"it has more than {MAX_LEAVES:,} entries")
        return result

    def build(self, node: object) -> tuple[object, int]:
        if isinstance(node, Record):
            value = self.call(node)
            used = (node.state, *node.args, *(child for _, child in node.pairs))
            return value, 1 + sum(self.done[id(c)][1] for c in used if id(c) in self.done)
        if isinstance(node, Persistent):
            return self.storage(node.key), 1
        if isinstance(node, dict):
            parts = {key: self.value(child) for key, child in node.items()}
            return {k: v for k, (v, _) in parts.items()}, 1 + sum(n for _, n in parts.values())
        parts = [self.value(child) for child in node]
        return type(node)(value for value, _ in parts), 1 + sum(n for _, n in parts)

    def call(self, record: Record) -> object:
        function = record.function
        if str(function) in RECONSTRUCTORS:  # Python 2's way to make an empty object of a class
            function = record.args[0] if record.args else None
        if not isinstance(function, Global):
            raise RefusedPickle("it rebuilds something that is not a known class")
        builder = ArrayBuilder.chumpy if _is_chumpy(function) else BUILDERS.get(str(function))
        if builder is None:
            raise RefusedPickle(f"it calls {function}")
        try:
            return builder(self, record)
        except RefusedPickle:
            raise
        except DAMAGE as error:
            raise RefusedPickle(f"{function} is incomplete ({error})") from error

    def state(self, record: Record) -> object:
        return self.value(record.state)[0]

    def args(self, record: Record) -> tuple:
        return tuple(arg if isinstance(arg, Global) else self.value(arg)[0] for arg in record.args)

    def ndarray(self, record: Record) -> object:
        """numpy's `_reconstruct` makes an empty array; its state is (version,) shape, dtype, ..."""
        if not record.args or record.args[0] != Global("numpy", "ndarray"):
            raise RefusedPickle("it asks for an array of a class that is not numpy's")
        shape, dtype, fortran, raw = self.state(record)[-4:]
        if isinstance(raw, list):
            if len(raw) != math.prod(shape):
                raise RefusedPickle("an array of objects has the wrong length")
            return raw[0] if shape == () else raw
        return self.array(raw, dtype, shape, fortran)

    def frombuffer(self, record: Record) -> np.ndarray:
        raw, dtype, shape, order = self.args(record)
        return self.array(raw, dtype, shape, order == "F")

    def scalar(self, record: Record) -> object:
        dtype, raw = self.args(record)
        return self.array(raw, dtype, (), False)[()]

    def dtype(self, record: Record) -> np.dtype:
        state = self.state(record)
        order, code = state[1] if state else "=", self.args(record)[0]
        if not isinstance(order, str) or not isinstance(code, str):
            raise RefusedPickle("an array has no type")
        return checked_dtype(order + code)

    def encode(self, record: Record) -> bytes:
        """Python 3 writes bytes in protocol 2 as text to be encoded."""
        text, encoding = self.args(record)
        if encoding not in ("latin1", "latin-1"):
            raise RefusedPickle("it encodes text as something else than latin1")
        self.spend(len(text))
        return text.encode("latin1")

    def mapping(self, record: Record) -> dict:
        pairs = with_plain_keys([*(record.args[0] if record.args else []), *record.pairs])
        return {key: self.value(child)[0] for key, child in pairs}

    def chumpy(self, record: Record) -> np.ndarray:
        """The value of a chumpy leaf; derived nodes would need chumpy to be computed."""
        leaf = record.state.get("x") if isinstance(record.state, dict) else None
        value = self.value(leaf)[0]
        if not isinstance(value, np.ndarray):
            raise RefusedPickle("a chumpy object in it is a formula and not an array")
        return value

    def sparse(self, record: Record) -> np.ndarray:
        """A csc or csr matrix as a dense array."""
        cls = record.args[0] if str(record.function) in RECONSTRUCTORS else record.function
        state = self.state(record)
        rows, columns = _plain(state.get("_shape", state.get("shape")))
        if rows < 0 or columns < 0 or rows * columns > MAX_DENSE:
            raise RefusedPickle(f"a sparse matrix has the size {rows} x {columns}")
        by_column = str(cls.name).startswith("csc")
        self.spend(8 * rows * columns)
        dense = np.zeros((columns, rows) if by_column else (rows, columns))
        starts, minor = (np.asarray(state[key]).astype(np.int64) for key in ("indptr", "indices"))
        data = np.asarray(state["data"])
        counts = np.diff(starts)
        fits = len(starts) == len(dense) + 1 and starts[0] == 0 and starts[-1] == len(minor)
        if not fits or counts.min(initial=0) < 0 or minor.min(initial=0) < 0:
            raise RefusedPickle("a sparse matrix has wrong indices")
        np.add.at(dense, (np.repeat(np.arange(len(dense)), counts), minor), data)
        return dense.T.copy() if by_column else dense

    def tensor(self, record: Record) -> np.ndarray:
        """torch's `_rebuild_tensor_v2`: storage, offset, size, stride, ..."""
        storage, *numbers = self.args(record)[:4]
        if not isinstance(storage, np.ndarray) or storage.ndim != 1:
            raise RefusedPickle("a tensor has no storage")
        offset, size, stride = index(numbers[0]), _plain(numbers[1]), _plain(numbers[2])
        if min([offset, *size, *stride, 0]) < 0 or len(size) != len(stride):
            raise RefusedPickle("a tensor has a negative size")
        if math.prod(size) > len(storage):
            raise RefusedPickle("a tensor has more numbers than its storage")
        self.spend(math.prod(size) * storage.itemsize)
        steps = [step * storage.itemsize for step in stride]
        # Raises ValueError where the tensor reaches beyond its storage.
        return np.ndarray(size, storage.dtype, storage, offset * storage.itemsize, steps).copy()

    def nested_storage(self, record: Record) -> np.ndarray:
        """A storage in torch's older layout: four pickles, then the count and the numbers.

        magic number, version 1001, facts about the system, a reference to the storage, its keys.
        """
        (raw,) = self.args(record)
        stream = io.BytesIO(raw)
        head = [parse_pickle(stream, _allowed) for _ in range(5)]
        if head[1] != 1001 or not isinstance(head[3], Persistent):
            raise RefusedPickle("a nested tensor is not in torch's layout")
        dtype = _torch_dtype(head[3].key[1])
        count = int.from_bytes(stream.read(8), "little")
        return self.array(stream.read(), dtype, (count,), False)

    def storage(self, key: object) -> np.ndarray:
        """('storage', class, file name, device, count) of a torch archive."""
        if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
            raise RefusedPickle("it refers to something outside the file")
        if not isinstance(key[2], str) or key[2] not in self.storages:
            raise RefusedPickle("a storage is missing from the archive")
        return self.array(self.storages[key[2]], _torch_dtype(key[1]), (key[4],), False)

    def array(self, raw: object, dtype: np.dtype, shape: tuple, fortran: object) -> np.ndarray:
        """An array over `raw`, which must have just the bytes that dtype and shape ask for."""
        data = raw.encode("latin1") if isinstance(raw, str) else raw  # str: Python 2
        if not isinstance(data, bytes | bytearray):
            raise RefusedPickle(f"an array's content is of type {type(raw).__name__}")
        shape = _plain(shape)
        if not isinstance(dtype, np.dtype) or dtype.hasobject or min((*shape, 0)) < 0:
            raise RefusedPickle("an array has no shape or no type of numbers")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise RefusedPickle(f"an array of {dtype} {shape} has {len(data):,} bytes")
        self.spend(len(data))
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return values.astype(dtype.newbyteorder("="), order="C")

    def spend(self, count: int) -> None:
        self.bytes_made += count
        if self.bytes_made > MAX_BYTES:
            raise RefusedPickle(f"its arrays would take more than {MAX_BYTES:,} bytes")


def _plain(numbers: Iterable) -> tuple[int, ...]:
    """Python's integers: numpy's of few bits would wrap where sizes are computed from them."""
    return tuple(index(n) for n in numbers)


def checked_dtype(code: str) -> np.dtype:
    if code.lstrip("<>=|") in ("O", "O4", "O8"):
        return np.dtype(object)
    if not NUMBERS.fullmatch(code):
        raise RefusedPickle(f"an array has the type {code}; expected numbers or text")
    return np.dtype(code)


def _torch_dtype(storage: object) -> np.dtype:
    if not isinstance(storage, Global) or storage.name not in TORCH_DTYPES:
        raise RefusedPickle("a tensor has a type that is not one of numbers")
    return np.dtype(TORCH_DTYPES[storage.name])


RECONSTRUCTORS = ("copy_reg._reconstructor", "copyreg._reconstructor")
CLASSES = {
    *("numpy.ndarray", "__builtin__.object", "builtins.object", *RECONSTRUCTORS),
    *("__builtin__.set", "builtins.set"),  # inside chumpy's records, and never built
    *(f"torch.{name}" for name in TORCH_DTYPES),
}
BUILDERS = {
    "numpy.core.multiarray._reconstruct": ArrayBuilder.ndarray,
    "numpy._core.multiarray._reconstruct": ArrayBuilder.ndarray,
    "numpy.core.numeric._frombuffer": ArrayBuilder.frombuffer,
    "numpy._core.numeric._frombuffer": ArrayBuilder.frombuffer,
    "numpy.core.multiarray.scalar": ArrayBuilder.scalar,
    "numpy._core.multiarray.scalar": ArrayBuilder.scalar,
    "numpy.dtype": ArrayBuilder.dtype,
    "_codecs.encode": ArrayBuilder.encode,
    "collections.OrderedDict": ArrayBuilder.mapping,
    "torch._utils._rebuild_tensor_v2": ArrayBuilder.tensor,
    "torch.storage._load_from_bytes": ArrayBuilder.nested_storage,
    **{
        f"scipy.sparse.{module}.{kind}_{form}": ArrayBuilder.sparse
        for kind in ("csc", "csr")
        for module in (kind, f"_{kind}")
        for form in ("matrix", "array")
    },
}
