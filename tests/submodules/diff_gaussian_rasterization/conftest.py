import diff_gaussian_rasterization as package
import pytest
import torch


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
def restore_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
