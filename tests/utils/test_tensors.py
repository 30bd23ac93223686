import os
import struct

import pytest
import torch

from utils.errors import InputError
from utils.tensors import read_tensors, under, write_tensors


def test_tensors_come_back_by_name_with_their_types(tmp_path):
    table = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    given = {"a.x": table.T, "a.y": torch.arange(3), "b": torch.zeros(0, 2, dtype=torch.uint8)}
    write_tensors(tmp_path / "t.safetensors", given)
    found = read_tensors(tmp_path / "t.safetensors")
    assert found.keys() == given.keys()
    for name, value in given.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name
    assert under(found, "a.").keys() == {"x", "y"}


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(InputError, match="no such file; train first"):
        read_tensors(tmp_path / "model.safetensors")


def header(content):
    return struct.pack("<Q", len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header(b"[" * 100_000),
        header(b'{"a": 1}'),
        header(b'{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,4]}}' % 10**18) + bytes(4),
        header(b'{"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]}}') + bytes(3),
        struct.pack("<Q", 2**40) + b"{}",
        header(b'{"__metadata__":{"a":"' + b"x" * 2**21 + b'"}}'),
    ],
    ids=["empty", "nested", "no tensor", "large", "cut", "header beyond", "long header"],
)
def test_what_is_no_safetensors_file_is_named(tmp_path, content):
    (tmp_path / "t.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.safetensors: cannot be read as a whole safetensors"):
        read_tensors(tmp_path / "t.safetensors")


def test_a_pipe_in_place_of_tensors_is_named(tmp_path):
    os.mkfifo(tmp_path / "t.safetensors")
    with pytest.raises(InputError, match="it is a pipe or a device"):
        read_tensors(tmp_path / "t.safetensors")
