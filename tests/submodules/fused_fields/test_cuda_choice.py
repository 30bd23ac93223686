"""Which tensors go to CUDA kernels, and what is said where they cannot run."""

import pytest
import torch
from fused_fields import _native

LEARNED = ("lookup", "ssim", "mix_bases", "skin", "activate", "mean_error", "turn_copies", "carry")
IN_PLACE = ("plane_penalties", "adam_step")
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    "operator", [*(f"{o}{s}" for o in LEARNED for s in ("", "_backward")), *IN_PLACE]
)
def test_operators_have_kernels_of_their_own_for_each_device(operator):
    name = f"fused_fields::{operator}"
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    assert not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeExplicitAutograd")


@pytest.fixture(autouse=True)
def forget_gpus():
    _native._gpu_runs.cache_clear()
    yield
    _native._gpu_runs.cache_clear()


def test_kernels_that_cannot_run_there_leave_it_to_the_twins_with_one_warning(monkeypatch):
    monkeypatch.setattr(_native, "_why_no_gpu", lambda device: "the card is too old")
    with pytest.warns(
        UserWarning, match="slow PyTorch code on cuda:0: the card is too old"
    ) as said:
        answers = [_native._gpu_runs(CUDA) for _ in range(2)]
    assert answers == [False, False]
    assert len(said) == 1


@pytest.mark.filterwarnings("error::UserWarning")
def test_kernels_that_can_run_there_do_unless_the_twins_are_asked_for(monkeypatch):
    monkeypatch.setattr(_native, "_why_no_gpu", lambda device: None)
    assert _native._gpu_runs(CUDA)
    _native._gpu_runs.cache_clear()
    monkeypatch.setenv(_native.LIBRARY.variable, "reference")
    assert not _native._gpu_runs(CUDA)


def test_a_missing_launcher_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(_native, "find_spec", lambda name: None)
    assert "pip install ./submodules/nvrtc-launch" in _native._why_no_gpu(CUDA)


def test_devices_without_kernels_go_to_the_twins():
    assert not _native.runs_on([torch.empty(2, device="meta")])
    assert not _native.runs_on([torch.empty(2)], devices=("cuda",))
