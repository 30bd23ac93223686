import pytest
import torch

from utils import devices
from utils.devices import CPU, choose_device, clock, describe, to_device
from utils.errors import InputError

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
REASON = "the driver is too old; update it"


@pytest.fixture
def no_card(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "CARD", tmp_path / "none")


@pytest.fixture
def useless_card(monkeypatch, tmp_path):
    """A machine with a card that our kernels cannot use."""
    (tmp_path / "card").touch()
    monkeypatch.setattr(devices, "CARD", tmp_path / "card")
    monkeypatch.setattr(devices, "_why_not", lambda device: REASON)


@pytest.mark.usefixtures("no_card")
def test_without_a_card_auto_is_the_cpu_and_says_nothing(capsys):
    assert choose_device("auto") == CPU
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("useless_card")
def test_a_card_that_cannot_be_used_is_one_sentence_and_the_cpu(capsys):
    assert choose_device("auto") == CPU
    assert capsys.readouterr().out == f"the GPU is not used: {REASON}\n"


@pytest.mark.usefixtures("useless_card")
def test_a_card_asked_for_by_name_is_an_error_where_it_cannot_be_used(capsys):
    with pytest.raises(InputError, match=f"--device cuda:1: {REASON}"):
        choose_device("cuda:1")
    assert choose_device("cpu") == CPU
    assert capsys.readouterr().out == ""


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="--device tpu: no such device; choose auto"):
        choose_device("tpu")


def test_sending_to_where_it_is_copies_nothing():
    tensor = torch.rand(3)
    assert to_device(tensor, CPU) is tensor


def test_the_cpu_is_described_by_its_threads():
    assert describe(CPU) == f"cpu ({torch.get_num_threads()} threads)"


def test_the_clock_runs():
    assert clock(CPU) <= clock(CPU)


@needs_gpu
def test_cuda_is_the_current_card_and_convolutions_keep_all_digits():
    device = choose_device("cuda")
    assert device == torch.device("cuda", torch.cuda.current_device())
    assert not torch.backends.cudnn.allow_tf32
    sent = to_device(torch.arange(4), device)
    assert sent.device == device
    assert sent.tolist() == [0, 1, 2, 3]
