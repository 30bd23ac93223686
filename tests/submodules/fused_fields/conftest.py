"""Every test that asks for `variant` runs once per instruction set this processor has."""

import fused_fields
import pytest
import torch
from fused_fields import _native


@pytest.fixture(params=["portable", "avx2", "avx512"])
def variant(request):
    before = fused_fields.variant()
    if before == "reference":
        pytest.skip("fused_fields has no native kernels here")
    try:
        _native.LIBRARY.choose(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    _native.LIBRARY.choose(before)


@pytest.fixture
def thread_counts():
    """Thread counts to compare; torch's own is put back afterwards."""
    before = torch.get_num_threads()
    yield (1, 2, 3, 5)
    torch.set_num_threads(before)
