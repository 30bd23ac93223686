"""On a card: the emulation's own kernels give there what the emulation gives here."""

from __future__ import annotations

import threading
from ctypes import c_double, c_int32, c_int64

import pytest
import torch
from nvrtc_launch import why_not

from tests.submodules.emulation import emulated
from tests.submodules.emulation.test_emulation import VOCABULARY, Range

CUDA = torch.device("cuda")
pytestmark = pytest.mark.skipif(why_not(CUDA) is not None, reason=f"{why_not(CUDA)}")

VALUES = torch.randn(96, generator=torch.Generator().manual_seed(0))
FLAGS = (VALUES > 0).int()
# kernel -> block, arguments (a tuple is the shape and type of a tensor to fill)
LAUNCHES = {
    "block_sums": (96, (VALUES, ((1,), torch.float32), c_int64(96))),
    "take_from_neighbour": (96, (VALUES, ((96,), torch.float32), c_int32(1))),
    "barriers": (96, (FLAGS, ((3,), torch.int32))),
    "shuffles": (96, [((96,), torch.int64)] * 4),
    "votes": (96, (FLAGS, ((96,), torch.int32), ((96,), torch.int32))),
    "by_value": (32, (Range(-1.0, 2.0, 7), c_double(2.0), None, ((7,), torch.float32))),
}


def run(kernels, name: str, device: torch.device) -> list[torch.Tensor]:
    block, arguments = LAUNCHES[name]
    made = [torch.zeros(a[0], dtype=a[1], device=device) if isinstance(a, tuple) else a
            for a in arguments]  # fmt: skip
    given = [a.to(device) if isinstance(a, torch.Tensor) else a for a in made]
    kernels.launch(name, 1, block, *given)
    return [a.cpu() for a in given if isinstance(a, torch.Tensor)]


@pytest.mark.parametrize("name", list(LAUNCHES))
def test_card_and_emulation_agree(name):
    on_card = run(VOCABULARY.kernels(CUDA, REAL="float"), name, CUDA)
    here = run(emulated(VOCABULARY)(REAL="float"), name, torch.device("cpu"))
    for a, b in zip(on_card, here, strict=True):
        torch.testing.assert_close(a, b)


def test_a_launch_follows_the_stream_and_works_in_a_new_thread():
    kernels = VOCABULARY.kernels(CUDA, REAL="float")
    sums = torch.zeros(1, device=CUDA)

    def work():
        with torch.cuda.stream(torch.cuda.Stream()):
            values = torch.ones(256, device=CUDA)
            kernels.launch("block_sums", 1, 256, values, sums, c_int64(256))
            torch.cuda.current_stream().synchronize()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert sums.item() == 256


def test_dynamic_shared_memory():
    values = torch.arange(200, dtype=torch.int32, device=CUDA)
    sums = torch.empty_like(values)
    kernels = VOCABULARY.kernels(CUDA, REAL="float")
    kernels.launch("block_scan", 1, 200, values, sums, shared=800)
    assert sums.equal(values.cumsum(0, dtype=torch.int32))
