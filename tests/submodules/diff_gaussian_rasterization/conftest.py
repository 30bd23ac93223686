import diff_gaussian_rasterization as package
import pytest
import torch
from diff_gaussian_rasterization import cuda, typed

from tests.submodules.diff_gaussian_rasterization.raster_scenes import draw_on_gpu, draw_with
from tests.submodules.emulation import emulated


@pytest.fixture(params=["portable", "avx2", "avx512"])
def variant(request):
    """Runs a test once for each variant that this processor can run."""
    before = package.variant()
    try:
        package.choose_variant(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    package.choose_variant(before)


@pytest.fixture
def gpu():
    """Skips a test, with the reason, where no GPU runs the kernels."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if (reason := typed.why_no_kernels(torch.device("cuda"))) is not None:
        pytest.skip(reason)


@pytest.fixture(params=["emulated", "emulated backward", "on a GPU"])
def draw_cuda(request):
    """Draws with the GPU backend: its kernels on the host, in two orders of threads, or on a
    GPU."""
    if request.param == "on a GPU":
        request.getfixturevalue("gpu")
        return draw_on_gpu
    order = "backward" if "backward" in request.param else "forward"
    return draw_with(emulated(cuda.PROGRAM, order))
