"""Launch sizes and parameters: the bytes a kernel would read, and what is refused."""

from __future__ import annotations

import ctypes

import pytest
import torch
from nvrtc_launch.arguments import check_launch, pack

CPU = torch.device("cpu")


class Camera(ctypes.Structure):
    _fields_ = (("focal", ctypes.c_float * 2), ("width", ctypes.c_int32))


def test_sizes_are_filled_up_with_ones():
    assert check_launch(7, (16, 16), 0) == ((7, 1, 1), (16, 16, 1))
    assert check_launch((1, 2, 3), (4, 5, 6), 48 * 1024) == ((1, 2, 3), (4, 5, 6))
    assert check_launch((0, 5), 32, 0) == ((0, 5, 1), (32, 1, 1))


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        (1, 1025, 0, "1 to 1024 threads"),
        (1, (32, 33), 0, "1 to 1024 threads"),
        (1, 0, 0, "1 to 1024 threads"),
        (1, (1, 1, 65), 0, "z up to 64"),
        (-1, 32, 0, "grid must be within"),
        ((1, 65536), 32, 0, "grid must be within"),
        (2**31, 32, 0, "grid must be within"),
        ((1, 1, 1, 1), 32, 0, "1 to 3 numbers"),
        (1, 32, 48 * 1024 + 1, "shared must be 0 to 49152 bytes"),
    ],
)
def test_what_no_card_can_run_is_refused(grid, block, shared, message):
    with pytest.raises(ValueError, match=message):
        check_launch(grid, block, shared)


def test_addresses_point_to_the_bytes_of_each_parameter():
    values = torch.arange(3.0)
    camera = Camera((ctypes.c_float * 2)(1.5, 2.5), 800)
    numbers = (ctypes.c_int32(-7), ctypes.c_int64(2**40), ctypes.c_double(0.1))
    addresses, kept = pack((values, None, *numbers, camera), CPU)
    expected = [ctypes.c_void_p(values.data_ptr()), ctypes.c_void_p(0), *numbers, camera]
    assert len(addresses) == len(kept) == len(expected)
    for address, value in zip(addresses, expected, strict=True):
        assert ctypes.string_at(address, ctypes.sizeof(value)) == bytes(value)


def test_tensors_must_be_dense_and_on_the_device():
    with pytest.raises(ValueError, match=r"argument 1 must be contiguous, found strides \(1, 3\)"):
        pack((torch.zeros(2), torch.zeros(2, 3).T), CPU)
    with pytest.raises(ValueError, match="argument 0 must be on cpu, found meta"):
        pack((torch.zeros(2, device="meta"),), CPU)


@pytest.mark.parametrize("value", [1, 2.0, True, "x", [1]])
def test_a_number_without_a_size_is_refused(value):
    with pytest.raises(TypeError, match="argument 0 must be a Tensor, None, a ctypes number"):
        pack((value,), CPU)
