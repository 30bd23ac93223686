"""The launch glue against a driver that records what it is told."""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import c_float, c_int32
from types import SimpleNamespace

import pytest
import torch
from nvrtc_launch.driver import Library
from nvrtc_launch.kernels import Kernels

CPU = torch.device("cpu")


class FakeDriver:
    """The calls of cuda.bindings.driver that a launch makes, with plain integers as handles."""

    CUfunction = staticmethod(lambda handle: ("function", handle))
    CUstream = staticmethod(lambda stream: ("stream", stream))

    def __init__(self, sizes: list[int], error: int = 0):
        self.sizes = sizes  # bytes of each parameter, which a real driver reads from the kernel
        self.error = error
        self.context = 0
        self.launches = []

    def cuCtxGetCurrent(self):
        return 0, self.context

    def cuCtxSetCurrent(self, context):
        self.context = context
        return (0,)

    def cuLaunchKernel(self, function, *rest):
        (*sizes, shared, stream, parameters, extra) = rest
        addresses = (ctypes.c_void_p * len(self.sizes)).from_address(parameters)
        read = [ctypes.string_at(a, n) for a, n in zip(addresses, self.sizes, strict=True)]
        self.launches.append((function, tuple(sizes), shared, stream, read, extra))
        return (self.error,)


class FakeCode:
    """A loaded program with one kernel, whose handle is 99."""

    def __init__(self):
        self.asked = []

    def get_kernel(self, name):
        self.asked.append(name)
        return SimpleNamespace(handle=99)


@pytest.fixture
def on_the_cpu(monkeypatch):
    """torch's device guard and current stream, for a machine without a card."""
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    stream = SimpleNamespace(cuda_stream=1234)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)


def test_a_launch_reaches_the_driver_as_it_was_given(on_the_cpu):
    driver, code = FakeDriver([8, 8, 4, 4]), FakeCode()
    kernels = Kernels(Library(driver, code, context=5), CPU)
    values = torch.arange(4.0)
    arguments = (values, None, c_int32(-3), c_float(0.5))
    kernels.launch("blend", (2, 3), 256, *arguments, shared=1024)
    pointers = [bytes(ctypes.c_void_p(p)) for p in (values.data_ptr(), 0)]
    numbers = [bytes(c_int32(-3)), bytes(c_float(0.5))]
    expected = (("function", 99), (2, 3, 1, 256, 1, 1), 1024, ("stream", 1234))
    assert driver.launches == [(*expected, pointers + numbers, 0)]
    assert code.asked == ["blend"]


def test_a_kernel_is_looked_up_once_and_a_foreign_context_is_replaced(on_the_cpu):
    driver, code = FakeDriver([]), FakeCode()
    kernels = Kernels(Library(driver, code, context=5), CPU)
    kernels.launch("blend", 1, 32)
    driver.context = 6
    kernels.launch("blend", 1, 32)
    assert code.asked == ["blend"]
    assert driver.context == 5


def test_a_grid_with_a_zero_reaches_no_driver(on_the_cpu):
    driver = FakeDriver([])
    Kernels(Library(driver, FakeCode(), context=5), CPU).launch("blend", (4, 0), 32)
    assert driver.launches == []


def test_a_refused_launch_says_which_kernel_and_how(on_the_cpu):
    kernels = Kernels(Library(FakeDriver([], error=701), FakeCode(), context=5), CPU)
    with pytest.raises(RuntimeError, match=r"701 \(blend, grid \(1, 1, 1\), block \(32, 1, 1\)"):
        kernels.launch("blend", 1, 32)


def test_the_real_bindings_have_every_call_that_the_fake_one_has():
    driver = pytest.importorskip("cuda.bindings.driver")
    for name in ("cuCtxGetCurrent", "cuCtxSetCurrent", "cuLaunchKernel", "cuDriverGetVersion",
                 "cuDeviceGet", "cuDevicePrimaryCtxRetain"):  # fmt: skip
        assert callable(getattr(driver, name))
    assert int(driver.CUfunction(99)) == 99
    assert int(driver.CUstream(1234)) == 1234
    assert int(driver.CUresult.CUDA_SUCCESS) == 0
