"""One clear sentence for each reason why kernels cannot run; each reason is pretended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from nvrtc_launch import driver, probe, why_not

CUDA0 = torch.device("cuda", 0)


@pytest.fixture
def machine(monkeypatch):
    """A machine on which everything is in order; a test breaks one thing of it."""
    probe._why_not.cache_clear()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card X")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(driver, "describe", lambda device: driver.Card("Card X", "sm_90", "13.0"))
    monkeypatch.setattr(probe, "nvrtc_version", lambda: "13.0")
    monkeypatch.setattr(probe, "_installed", lambda module: True)
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, device=None, **kind: zeros(*size, **kind))
    set_answer(monkeypatch, 42)
    yield monkeypatch
    probe._why_not.cache_clear()


def set_answer(monkeypatch, number: int | Exception) -> None:
    def launch(name, grid, block, answer, argument):
        if isinstance(number, Exception):
            raise number
        answer.fill_(number)

    fake = SimpleNamespace(kernels=lambda device: SimpleNamespace(launch=launch))
    monkeypatch.setattr(probe, "PROBE", fake)


def missing_nvrtc() -> str:
    raise ImportError("the NVRTC library is not installed (libnvrtc.so)")


def test_nothing_stands_in_the_way(machine):
    assert why_not(CUDA0) is None
    assert why_not(torch.device("cuda")) is None


def test_another_kind_of_device():
    assert why_not(torch.device("cpu")) == "kernels run on CUDA devices, not on cpu"


def test_a_torch_without_cuda(machine):
    machine.setattr(torch.version, "cuda", None)
    assert "is built without CUDA; install the CUDA build" in why_not(CUDA0)


def test_no_driver_or_card(machine):
    machine.setattr(torch.cuda, "is_available", lambda: False)
    assert "check that nvidia-smi lists one" in why_not(CUDA0)


def test_an_index_that_does_not_exist(machine):
    assert why_not(torch.device("cuda", 3)) == "there is no cuda:3; torch sees 1 card(s)"


def test_a_card_that_is_too_old(machine):
    machine.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    sentence = why_not(CUDA0)
    assert sentence == ("Card X has compute capability 7.0; the kernels need 7.5 (Turing) or newer")


@pytest.mark.parametrize("package", ["cuda.core", "cuda.bindings"])
def test_a_package_that_is_not_installed(machine, package):
    machine.setattr(probe, "_installed", lambda module: module != package)
    sentence = why_not(CUDA0)
    assert f"{package.replace('.', '-')} is not installed" in sentence
    assert "requirements-gpu.txt" in sentence


def test_no_nvrtc(machine):
    machine.setattr(probe, "nvrtc_version", missing_nvrtc)
    assert "NVRTC library is not installed" in why_not(CUDA0)
    assert "requirements-gpu.txt" in why_not(CUDA0)


def test_a_driver_older_than_nvrtc(machine):
    machine.setattr(driver, "describe", lambda device: driver.Card("Card X", "sm_90", "12.4"))
    sentence = why_not(CUDA0)
    assert "the NVIDIA driver runs CUDA 12.4 and NVRTC is of CUDA 13.0" in sentence
    assert "update the driver to one for CUDA 13" in sentence


def test_a_newer_driver_is_fine(machine):
    machine.setattr(driver, "describe", lambda device: driver.Card("Card X", "sm_90", "14.0"))
    assert why_not(CUDA0) is None


def test_a_kernel_that_fails_or_answers_nonsense(machine):
    set_answer(machine, RuntimeError("first line\nsecond line"))
    assert why_not(CUDA0).endswith("RuntimeError: first line second line")
    probe._why_not.cache_clear()
    set_answer(machine, 41)
    assert why_not(CUDA0) == "a kernel of one line gives 41 on cuda:0, not 42"


def test_the_real_probe_finds_absent_packages():
    assert probe._installed("json.decoder")
    assert not probe._installed("json.nothing")
    assert not probe._installed("no_such_package.at_all")
