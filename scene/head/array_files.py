"""Arrays from files that strangers wrote: pickles, .npy, .npz, torch archives; no code is run.

Everything comes back as dicts, lists, tuples, text, numbers and numpy arrays.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from scene.head.array_records import MAX_BYTES, ArrayBuilder, checked_dtype
from scene.head.pickle_records import RefusedPickle
from utils.errors import InputError
from utils.files import read_bytes, short

MAX_MEMBERS = 10_000  # of an archive
MAX_RATIO, FREE_BYTES = 20, 2**27  # an archive may unpack to so many times its size, and as many


def read_array_file(path: Path) -> object:
    """What a .pkl, .npy, .npz, .frame or .pt file holds; raises `InputError` naming the file.

    The kind is told by the first bytes, not by the name.
    """
    return arrays_in(read_bytes(path, MAX_BYTES), path)


def arrays_in(content: bytes, source: Path | str) -> object:
    """What the bytes of such a file hold; `source` is how an `InputError` names them."""
    try:
        if content.startswith(b"\x93NUMPY"):
            return _npy(ArrayBuilder(), content)
        if content.startswith(b"PK"):
            return _archive(ArrayBuilder(), content)
        return ArrayBuilder().pickle(io.BytesIO(content))
    except Exception as error:  # whatever a damaged file makes numpy and zipfile stumble over
        raise InputError(
            f"{source}: not read, because {short(error)}; expected a file of plain arrays: "
            "download it again from its publisher, or convert it to .npz with the official tools"
        ) from error


def _npy(builder: ArrayBuilder, content: bytes) -> object:
    """One array; an object array of numpy's becomes what its pickle holds."""
    stream = io.BytesIO(content)
    shape, fortran, dtype = _npy_header(stream)
    if dtype.hasobject:
        return builder.pickle(stream)
    return builder.array(stream.read(), dtype, shape, fortran)


def _archive(builder: ArrayBuilder, content: bytes) -> object:
    """An .npz (by member, arrays of numbers or text only) or what torch.save wrote."""
    try:
        if content.count(b"PK\x01\x02") > MAX_MEMBERS:
            raise RefusedPickle(f"more than {MAX_MEMBERS:,} members")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > FREE_BYTES + MAX_RATIO * len(content):
                raise RefusedPickle(f"{len(content):,} bytes would become {size:,}")
            builder.spend(size)
            members = {name: archive.read(name) for name in archive.namelist()}
    except RefusedPickle:
        raise
    except Exception as error:
        raise RefusedPickle(f"the archive is damaged ({error})") from error
    roots = [name for name in members if name.split("/")[-1] == "data.pkl"]
    if len(roots) == 1:
        folder = roots[0][: -len("data.pkl")] + "data/"
        builder.storages = {
            name[len(folder) :]: raw for name, raw in members.items() if name.startswith(folder)
        }
        return builder.pickle(io.BytesIO(members[roots[0]]))
    return {n.removesuffix(".npy"): _npy_of_numbers(builder, raw) for n, raw in members.items()}


def _npy_of_numbers(builder: ArrayBuilder, content: bytes) -> np.ndarray:
    if not content.startswith(b"\x93NUMPY"):
        raise RefusedPickle("a member of the archive is neither an array nor torch's data.pkl")
    if _npy_header(io.BytesIO(content))[2].hasobject:
        raise RefusedPickle("the .npz holds objects, not numbers")
    return _npy(builder, content)


def _npy_header(stream: io.BytesIO) -> tuple[tuple, bool, np.dtype]:
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = read[version](stream)
    except Exception as error:
        raise RefusedPickle(f"the array's header is damaged ({error})") from error
    return shape, fortran, dtype if dtype == np.dtype(object) else checked_dtype(dtype.str)
