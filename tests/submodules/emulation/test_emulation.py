"""The emulation's own tests: CUDA's documented results, and its mistakes found."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_int32, c_int64
from pathlib import Path

import pytest
import torch
from nvrtc_launch import Program

from tests.submodules.emulation import EmulationError, emulated

VOCABULARY = Program(Path(__file__).parent / "vocabulary.cu")
MISTAKES = Program(Path(__file__).parent / "mistakes.cu")


class Range(ctypes.Structure):
    _fields_ = (("low", ctypes.c_float), ("high", ctypes.c_float), ("count", c_int32))


@pytest.fixture(params=["forward", "backward"])
def kernels(request):
    return emulated(VOCABULARY, order=request.param)(REAL="float")


def random(n: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("real", [torch.float32, torch.float64])
def test_block_sum_by_shuffles(real):
    kernels = emulated(VOCABULARY)(REAL={torch.float32: "float", torch.float64: "double"}[real])
    values = random(1000).to(real)
    sums = torch.zeros(4, dtype=real)
    kernels.launch("block_sums", 4, 256, values, sums, c_int64(1000))
    expected = torch.stack([part.sum() for part in values.split(256)])
    torch.testing.assert_close(sums, expected)


def test_block_scan_in_dynamic_shared_memory(kernels):
    values = torch.arange(200, dtype=torch.int32) % 7
    sums = torch.empty_like(values)
    kernels.launch("block_scan", 1, 200, values, sums, shared=4 * 200)
    assert sums.equal(values.cumsum(0, dtype=torch.int32))


def test_ballot_ranks_and_atomics_compact_an_array(kernels):
    values = random(300)
    count, kept = torch.zeros(1, dtype=torch.int32), torch.full((300,), -1, dtype=torch.int32)
    kernels.launch("positive", 3, 128, values, c_int32(300), count, kept)
    expected = (values > 0).nonzero()[:, 0].int()
    assert int(count) == len(expected)
    assert kept[: int(count)].sort().values.equal(expected)


@pytest.mark.parametrize("ones", [0, 1, 40])
def test_barriers_that_vote(kernels, ones):
    flags = (torch.arange(40) < ones).int()
    results = torch.zeros(3, dtype=torch.int32)
    kernels.launch("barriers", 1, 40, flags, results)
    assert results.tolist() == [ones > 0, ones == 40, ones]


def test_shuffles_keep_to_their_warp_and_segment(kernels):
    up, down, flipped, segment = torch.zeros(4, 64, dtype=torch.int64)
    kernels.launch("shuffles", 1, 64, up, down, flipped, segment)
    lane = torch.arange(64)
    warp = lane // 32 * 32
    assert up.equal(100 + torch.where(lane % 32 < 3, lane, lane - 3))
    assert down.equal(100 + torch.where(lane % 32 > 28, lane, lane + 3))
    assert flipped.equal(100 + warp + ((lane % 32) ^ 5))
    assert segment.equal(100 + lane // 8 * 8 + 1)


def test_halves_of_a_warp_vote_on_their_own(kernels):
    flags = torch.zeros(32, dtype=torch.int32)
    flags[3], flags[16:] = 1, 1
    any_, all_ = torch.zeros(2, 32, dtype=torch.int32)
    kernels.launch("votes", 1, 32, flags, any_, all_)
    assert any_.eq(1).all()
    assert all_.tolist() == [0] * 16 + [1] * 16


def test_atomics_on_integers(kernels):
    biggest = torch.zeros(1, dtype=torch.int64)
    smallest, bits = torch.full((1,), 2000, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    lock = torch.full((1,), -1, dtype=torch.int32)
    kernels.launch("atomics", 1, 100, biggest, smallest, bits, lock)
    assert (int(biggest), int(smallest), int(bits)) == ((99 << 40) + 1, 901, -1)
    assert int(lock) in (70, 80)


def test_every_thread_of_every_block_runs_once(kernels):
    seen = torch.zeros(2 * 3 * 2, 4 * 3 * 5, dtype=torch.int32)
    kernels.launch("places", (2, 3, 2), (4, 3, 5), seen)
    expected = torch.arange(12)[:, None] * 1000 + torch.arange(60) + 1
    assert seen.equal(expected.int())


def test_structures_numbers_and_null_pass_by_value(kernels):
    out = torch.zeros(7)
    kernels.launch("by_value", 1, 32, Range(-1.0, 2.0, 7), c_double(2.0), None, out)
    torch.testing.assert_close(out, torch.linspace(-2, 4, 7))


def test_bits_and_vectors(kernels):
    out = torch.zeros(4)
    kernels.launch("bit_casts", 1, 1, out)
    assert out.tolist() == [1.5 + 2.0**-23, -2.5, 31 + 4 + 3 + 2.5 + 8 + 0.5, 16]


def test_a_grid_with_a_zero_starts_nothing(kernels):
    seen = torch.zeros(4, dtype=torch.int32)
    kernels.launch("places", (3, 0), 4, seen)
    assert seen.eq(0).all()


def test_a_missing_barrier_shows_in_the_other_order():
    values = random(96)
    taken = {}
    for order in ("forward", "backward"):
        for wait in (0, 1):
            taken[order, wait] = torch.zeros(96)
            kernels = emulated(VOCABULARY, order=order)(REAL="float")
            kernels.launch("take_from_neighbour", 1, 96, values, taken[order, wait], c_int32(wait))
    assert taken["forward", 1].equal(values.roll(-1))
    assert taken["backward", 1].equal(values.roll(-1))
    assert not taken["forward", 0].equal(taken["backward", 0])


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("divergent_barrier", r"not reached by all.*mistakes.cu:[69], .*mistakes.cu:[69]$"),
        ("return_before_barrier", r"thread \(3, 0, 0\) has returned"),
        ("return_while_others_wait", r"thread \(\d+, 0, 0\) has returned"),
        ("lane_stays_away", r"thread \(9, 0, 0\) waits in __syncthreads"),
        ("different_masks", r"can go on.*mask 00000003.*mask 00000007"),
        ("not_in_its_mask", "its own mask does not name"),
        ("reads_a_lane_that_returned", "reads lane 31, which takes no part"),
    ],
)
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_what_a_gpu_does_not_define_is_an_error(kernel, message, order):
    with pytest.raises(EmulationError, match=rf"{kernel}, block \(\d, 0, 0\)") as error:
        emulated(MISTAKES, order=order)().launch(kernel, 2, 32, torch.zeros(64))
    assert error.match(message)


def test_after_an_error_the_next_launch_works():
    kernels = emulated(MISTAKES)()
    for _ in range(50):
        with pytest.raises(EmulationError):
            kernels.launch("divergent_barrier", 1, 1024, torch.zeros(2))
    kernels.launch("uninitialised", 1, 32, torch.zeros(32))


def test_shared_memory_starts_as_nan():
    out = torch.zeros(32)
    kernels = emulated(MISTAKES)()
    kernels.launch("uninitialised", 3, 32, out)
    assert out[::2].isnan().all()
    assert out[1::2].eq(1).all()


def test_writing_behind_dynamic_shared_memory_is_an_error():
    kernels = emulated(MISTAKES)()
    kernels.launch("behind_dynamic_memory", 1, 8, torch.zeros(8), shared=32)
    with pytest.raises(EmulationError, match="byte 32 of 32"):
        kernels.launch("behind_dynamic_memory", 1, 9, torch.zeros(9), shared=32)


def test_parameters_that_do_not_fit_the_kernel_are_refused():
    kernels = emulated(VOCABULARY)(REAL="float")
    sums = torch.zeros(1)
    for wrong in ((sums, sums, c_int32(1)), (sums, sums), (sums, c_int64(1), sums)):
        with pytest.raises(TypeError, match=r"block_sums takes \['p8', 'p8', 'i8'\]"):
            kernels.launch("block_sums", 1, 32, *wrong)
    with pytest.raises(KeyError, match="no kernel named 'nothing'"):
        kernels.launch("nothing", 1, 32)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="sideways"):
        emulated(VOCABULARY, order="sideways")
