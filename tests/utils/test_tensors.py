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
    with pytest.raises(InputError, match="there is no such file"):
        read_tensors(tmp_path / "model.safetensors")
