"""The readers run no code: planted commands are refused, plain arrays come back as written."""

import contextlib
import copyreg
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.sparse
import torch

from scene.head import array_records, pickle_records
from scene.head.array_files import read_array_file
from tests.border import refused_cheaply
from utils.errors import InputError


class Call:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Stateful:
    """Pickles as an array whose state is an object of the attacker's."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return np.ndarray(0).__reduce__()[0], (np.ndarray, (0,), b"b"), self.state


def text(value):
    return b"V" + str(value).encode() + b"\n"


def command(target):
    return f"touch {target}"


def torch_archive(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def npz_of(member):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("v_template.npy", member)
    return buffer.getvalue()


def npy_with(value):
    buffer = io.BytesIO()
    array = np.empty((), dtype=object)
    array[()] = value
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def storage_with(value):
    """A torch storage in the older layout whose description runs code."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, value, ["0"])
    raw = b"".join(pickle.dumps(part, 2) for part in head) + struct.pack("<q", 0)
    return pickle.dumps(Call(torch.storage._load_from_bytes, raw))


def opened_for_writing(target):
    return b"c_io\nopen\n(" + text(target) + text("w") + b"tR."


def extension(target):
    """An object named by a number that the process has registered."""
    copyreg.add_extension("os", "system", 0x7A)
    return b"\x80\x02\x82\x7a(" + text(command(target)) + b"tR."


def numpy_runs_text(target):
    source = text(f"open({str(target)!r}, 'w')")
    return b"cnumpy.testing._private.utils\nrunstring\n(" + source + b"}tR."


def subclass_of_array(target):
    """numpy's own hook, asked for an array of another class."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(csubprocess\nPopen\n((Vtouch\n"
        + text(target)
        + b"ltVb\ntR."
    )


def chumpy_with_a_path(target):
    """The allowed package, with a dotted way out of it."""
    return b"\x80\x04\x8c\x06chumpy\x8c\x09os.system\x93(" + text(command(target)) + b"tR."


# Each writes a file of this suffix that creates `target` when a careless reader loads it.
ATTACKS = {
    "os.system": (".pkl", lambda t: pickle.dumps(Call(os.system, command(t)), 4)),
    "os.system, Python 2": (".pkl", lambda t: pickle.dumps(Call(os.system, command(t)), 2)),
    "eval": (".pkl", lambda t: pickle.dumps(Call(eval, f"open({str(t)!r}, 'w')"))),
    "exec, Python 2": (".pkl", lambda t: pickle.dumps(Call(exec, f"open({str(t)!r}, 'w')"), 2)),
    "subprocess": (".pkl", lambda t: pickle.dumps(Call(subprocess.Popen, ["touch", str(t)]))),
    "open for writing": (".pkl", opened_for_writing),
    "INST opcode": (".pkl", lambda t: b"(" + text(command(t)) + b"ios\nsystem\n."),
    "OBJ opcode": (".pkl", lambda t: b"(cos\nsystem\n" + text(command(t)) + b"o."),
    "NEWOBJ opcode": (
        ".pkl",
        lambda t: b"\x80\x02csubprocess\nPopen\n((Vtouch\n" + text(t) + b"lt\x81.",
    ),
    "extension registry": (".pkl", extension),
    "dotted name in an allowed package": (".pkl", chumpy_with_a_path),
    "numpy's runstring": (".pkl", numpy_runs_text),
    "array of another class": (".pkl", subclass_of_array),
    "state of an array": (".pkl", lambda t: pickle.dumps(Stateful(Call(os.system, command(t))))),
    "key that nobody reads": (
        ".pkl",
        lambda t: pickle.dumps({"v_template": np.eye(3), "x": Call(os.system, command(t))}),
    ),
    "after a whole pickle, popped": (
        ".pkl",
        lambda t: b"cos\nsystem\n(" + text(command(t)) + b"tR0}.",
    ),
    "object array": (".npy", lambda t: npy_with(Call(os.system, command(t)))),
    "object array in an npz": (".npz", lambda t: npz_of(npy_with(Call(os.system, command(t))))),
    "torch archive": (".frame", lambda t: torch_archive(pickle.dumps(Call(os.system, command(t))))),
    "persistent id of a torch archive": (
        ".frame",
        lambda t: torch_archive(b"\x80\x02cos\nsystem\n(" + text(command(t)) + b"tRQ."),
    ),
    "nested torch storage": (".npy", lambda t: storage_with(Call(os.system, command(t)))),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_planted_code_is_refused_and_does_not_run(attack, tmp_path):
    suffix, write = ATTACKS[attack]
    target = tmp_path / "planted"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(write(target))
    with pytest.raises(InputError, match="not read, because") as error:
        read_array_file(path)
    assert str(path) in str(error.value)
    assert not target.exists()
    if attack == "extension registry":
        copyreg.remove_extension("os", "system", 0x7A)


@pytest.mark.parametrize(
    "attack", ["os.system", "INST opcode", "open for writing", "state of an array"]
)
def test_the_planted_code_is_live(attack, tmp_path):
    """What the test above refuses would have run in pickle.load."""
    target = tmp_path / "planted"
    content = ATTACKS[attack][1](target)
    with contextlib.suppress(TypeError, ValueError):  # the array is no array, the command has run
        pickle.loads(content)
    assert target.exists()


def tree():
    return {
        "a": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">i4"),
        "scalar": np.float32(3),
        "text": "lbs",
        "list": [np.arange(3, dtype=np.uint32)] * 3,
        "sparse": scipy.sparse.csc_matrix(np.array([[0, 2.0], [3, 0], [0, 5]])),
        "rows": scipy.sparse.csr_matrix(np.array([[0, 2.0], [3, 0], [0, 5]])),
        "tensor": torch.arange(6).reshape(2, 3).T,
        "half": torch.tensor([0.5, 2], dtype=torch.float16),
        "nothing": None,
    }


def assert_equal_trees(found, expected):
    assert list(found) == list(expected)
    for key, value in expected.items():
        dense = value.toarray() if scipy.sparse.issparse(value) else value
        np.testing.assert_array_equal(np.asarray(found[key]), np.asarray(dense), err_msg=key)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_trees_come_back_from_every_protocol(protocol, tmp_path):
    path = tmp_path / "tree.pkl"
    path.write_bytes(pickle.dumps(tree(), protocol))
    assert_equal_trees(read_array_file(path), tree())


def test_dict_in_an_object_array_comes_back(tmp_path):
    path = tmp_path / "tree.npy"
    np.save(path, np.array(tree(), dtype=object))
    assert_equal_trees(read_array_file(path), tree())


def test_plain_npy_and_npz_come_back(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", a=array, names=np.array(["x", "yz"]))
    np.testing.assert_array_equal(read_array_file(tmp_path / "a.npy"), array)
    found = read_array_file(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["a"], array)
    assert found["names"].tolist() == ["x", "yz"]


def test_frame_of_a_tracker_comes_back(tmp_path):
    """A torch archive of numpy arrays and tensors, as the metrical tracker saves a frame."""
    frame = {
        "flame": {"exp": np.ones((1, 100), np.float32), "jaw": np.zeros((1, 6), np.float32)},
        "camera": {"R": torch.eye(3)[None]},
        "img_size": [512, 512],
        "frame_id": "00000",
    }
    path = tmp_path / "00000.frame"
    torch.save(frame, path)
    found = read_array_file(path)
    np.testing.assert_array_equal(found["flame"]["exp"], frame["flame"]["exp"])
    np.testing.assert_array_equal(found["camera"]["R"], frame["camera"]["R"])
    assert (found["img_size"], found["frame_id"]) == ([512, 512], "00000")


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def laughs():
    value = ["ha"]
    for _ in range(40):
        value = [value, value]
    return value


def cycle():
    value = []
    value.append(value)
    return value


def with_content(raw, dtype="f8"):
    """An array of three numbers whose bytes are `raw`."""
    rebuild = np.zeros(0).__reduce__()[0]

    class Array:
        def __reduce__(self):
            return rebuild, (np.ndarray, (0,), b"b"), (1, (3,), np.dtype(dtype), False, raw)

    return pickle.dumps(Array(), 2)


def unrolling_matrix():
    """A matrix whose one column claims 2^60 entries."""
    matrix = scipy.sparse.csc_matrix(np.ones((3, 1)))
    matrix.indptr = np.array([0, 2**60])
    return pickle.dumps(matrix, 2)


HARMFUL_SIZES = {
    "nesting": lambda: pickle.dumps(deep(300), 2),
    "billion laughs": lambda: pickle.dumps(laughs(), 2),
    "cycle": lambda: pickle.dumps(cycle(), 2),
    "length beyond the file": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "array larger than its bytes": lambda: pickle.dumps(np.zeros(3), 2).replace(b"K\x03", b"K\x7f"),
    "array whose content is a number": lambda: with_content(2**50),
    "sparse matrix that unrolls": unrolling_matrix,
    "tensor of one number repeated": lambda: pickle.dumps(torch.ones(1).expand(2**33), 2),
    "array of pointers": lambda: with_content(bytes(24), "O8"),
    "empty file": lambda: b"",
    "text": lambda: b"<html>404 not found</html>",
    "torn archive": lambda: b"PK\x03\x04" + bytes(50),
    "npy header": lambda: b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'shape': (9**99,)}\n",
}


@pytest.mark.parametrize("kind", HARMFUL_SIZES)
def test_damaged_and_swollen_files_end_with_one_error(kind, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(HARMFUL_SIZES[kind]())
    with pytest.raises(InputError, match="model"):
        read_array_file(path)


def doubled(opcode, times):
    """Instructions that make a list or tuple of twice the last one, again and again."""
    return b"".join(b"q\x00h\x00" + opcode for _ in range(times))


def called_with(argument, times):
    """Allowed calls with one and the same argument."""
    call = b"ccollections\nOrderedDict\nh\x00R"
    return b"\x80\x02" + argument + b"q\x000(" + times * call + b"l."


LONG_TEXT = b"X" + struct.pack("<I", 2**20) + b"x" * 2**20
MANY_SPARSE = pickle.dumps([scipy.sparse.csc_matrix((4096, 4096)) for _ in range(9)], 2)
SWOLLEN = {
    "tuples of itself doubled 60 times": b"\x80\x02)" + doubled(b"\x86", 60) + b".",
    "the same as a key": b"\x80\x02})" + doubled(b"\x86", 60) + b"Ns.",
    "the same as a key of an OrderedDict": (
        b"\x80\x02ccollections\nOrderedDict\n)R)" + doubled(b"\x86", 60) + b"Ns."
    ),
    "the same as the name of a storage": (
        b"\x80\x02(Vstorage\nN)" + doubled(b"\x86", 60) + b"NNtQ."
    ),
    "the same as the type of a storage": (
        b"\x80\x02(Vstorage\n)" + doubled(b"\x86", 60) + b"NNNtQ."
    ),
    "the same as the class of an array": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)" + doubled(b"\x86", 60) + b"\x85R."
    ),
    "key of a hundred thousand tuples in each other": b"\x80\x02})" + 10**5 * b"\x85" + b"Ns.",
    "ten thousand lists in each other": 10**4 * b"(" + 10**4 * b"l" + b".",
    "LONG4 beyond the file": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "BYTEARRAY8 beyond the file": b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b"abc.",
    "FRAME beyond the file": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"]",
    "long text as arguments": called_with(LONG_TEXT, 1000),
    "long tuple as arguments": called_with(b"(" + b"N" * 10**4 + b"t", 1000),
    "one text encoded again and again": (
        b"\x80\x02"
        + LONG_TEXT
        + b"q\x000("
        + 150 * b"c_codecs\nencode\nh\x00Vlatin1\n\x86R"
        + b"l."
    ),
    "sparse matrices of nothing": MANY_SPARSE,
    "named arguments": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "set": b"\x80\x04\x8f.",
    "buffer outside the stream": b"\x80\x05\x97.",
    "the inside of a name": b"cchumpy.ch\nCh\n}Vmodule\nVos\nsb.",
    "call of a record": b"cchumpy.ch\nCh\n)R)R.",
    "mark that is missing": b"\x80\x02Nt.",
    "key without its value": b"\x80\x02}(Nu.",
}


@pytest.mark.parametrize("kind", SWOLLEN)
def test_hostile_instructions_end_with_one_error_and_little_memory(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(array_records, "MAX_BYTES", 2**27)
    path = tmp_path / "model.pkl"
    path.write_bytes(SWOLLEN[kind])
    tracemalloc.start()
    with pytest.raises(InputError, match=r"model.*not read, because"):
        read_array_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28 + 300 * len(SWOLLEN[kind])


def numpy_scalar(kind, value):
    """Instructions that make a number of numpy's."""
    return pickle.dumps(np.dtype(kind).type(value), 2)[2:-1]


def integers(*values, kind="uint64"):
    return b"(" + b"".join(numpy_scalar(kind, value) for value in values) + b"t"


def tensor_of(count, size, stride, offset=b"K\x00"):
    """A torch archive whose one tensor has a storage of `count` floats."""
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nM" + struct.pack("<H", count) + b"tQ"
    data = b"\x80\x02" + rebuild + b"(" + storage + offset + size + stride + b"tR."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", np.arange(count, dtype="<f4").tobytes())
    return buffer.getvalue()


def sparse_with(indptr):
    matrix = scipy.sparse.csc_matrix(np.ones((3, 4)))
    matrix.indptr = indptr
    return pickle.dumps(matrix, 2)


BEYOND = {
    "a stride of 8 bits that wraps": lambda: tensor_of(
        200, integers(200, kind="uint8"), integers(10, kind="uint8")
    ),
    "a stride that wraps 64 bits": lambda: tensor_of(
        4, integers(9, kind="int64"), integers(2**61, kind="int64")
    ),
    "an offset that wraps 64 bits": lambda: tensor_of(
        4, integers(1), integers(1), numpy_scalar("uint64", 2**64 - 1)
    ),
    "a size that is a float": lambda: tensor_of(4, integers(2, kind="float64"), integers(1)),
    "counts that wrap 32 bits": lambda: sparse_with(np.array([0, 9, 3, 7, 12], np.uint32)),
    "a shape of bits that wrap": lambda: with_content(bytes(24)).replace(
        b"K\x03\x85", integers(3, 2**61, 8)
    ),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_no_number_of_a_file_reaches_beyond_its_bytes(kind, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(BEYOND[kind]())
    with pytest.raises(InputError, match=r"model.*not read, because"):
        read_array_file(path)


def test_tensors_with_sizes_of_numpys_own_numbers_come_back(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(tensor_of(6, integers(2, 2, kind="uint8"), integers(1, 3, kind="int64")))
    assert read_array_file(path).tolist() == [[0, 3], [1, 4]]


def colliding(count):
    """A dict of integers that all have the hash 0."""
    return pickle.dumps({k * (2**61 - 1): None for k in range(1, count)}, 2)


def npz_bomb(size):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.npy", bytes(size))
    return buffer.getvalue()


def crowded_archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(20_000):
            archive.writestr(str(k), b"")
    return buffer.getvalue()


def stored_under(numbers):
    return b"\x80\x02N" + b"".join(b"p%d\n" % number for number in numbers) + b"."


SLOW = {
    "integers of one hash": lambda: colliding(5_000),
    "floats of one hash": lambda: pickle.dumps({2.0 ** (61 * k): None for k in range(16)}, 2),
    "references by numbers of one hash": lambda: stored_under(
        k * (2**61 - 1) for k in range(1, 100_000)
    ),
    "two million instructions": lambda: b"\x80\x02" + b"]0" * 10**6 + b"].",
    "archive that unpacks to much more": lambda: npz_bomb(2**28),
    "archive of twenty thousand members": crowded_archive,
    "a name of a megabyte": lambda: b"\x80\x02c" + b"x" * 2**20 + b"\ny\n.",
}


@pytest.mark.long
@pytest.mark.parametrize("kind", SLOW)
def test_what_would_take_long_or_much_is_one_short_line_at_once(kind, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(SLOW[kind]())
    said = r"model.*not read, because"
    refused_cheaply(lambda: read_array_file(path), said, path.stat().st_size)


def test_a_pipe_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.pkl")
    with pytest.raises(InputError, match="it is a pipe or a device"):
        read_array_file(tmp_path / "model.pkl")


def test_instructions_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_records._Instructions, "left", 102)
    path = tmp_path / "model.pkl"
    path.write_bytes(b"]" + b"]0" * 49 + b"0N.")
    assert read_array_file(path) is None
    path.write_bytes(b"]" + b"]0" * 50 + b"0N.")
    with pytest.raises(InputError, match="instructions"):
        read_array_file(path)


def test_a_memo_index_of_two_billion_takes_no_memory(tmp_path):
    path = tmp_path / "list.pkl"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    refused_cheaply(lambda: read_array_file(path), "stores something under a number beyond", 8)


@pytest.mark.long
def test_random_damage_never_ends_in_another_error(tmp_path):
    rng = np.random.default_rng(0)
    small = {k: v for k, v in tree().items() if k != "nothing"}
    buffer = io.BytesIO()
    torch.save(small | {"sparse": 0, "rows": 0}, buffer)
    contents = [pickle.dumps(small, 2), pickle.dumps(small, 4), npy_with(small), buffer.getvalue()]
    path = tmp_path / "model.pkl"
    refused = 0
    for content in contents:
        for _ in range(75):
            damaged = bytearray(content)
            for position in rng.integers(len(damaged), size=3):
                damaged[position] = rng.integers(256)
            path.write_bytes(bytes(damaged[: rng.integers(1, 2 * len(damaged))]))
            try:
                read_array_file(path)
            except InputError:
                refused += 1
    assert refused > 100


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.pkl: no such file"):
        read_array_file(tmp_path / "nowhere.pkl")
