"""Every test that asks for `variant` runs once per instruction set this processor has."""

import pytest
import torch
from fused_fields import _native


@pytest.fixture(params=["portable", "avx2", "avx512"])
def variant(request):
    library = _native.library()
    if library is None:
        pytest.skip("fused_fields has no native kernels here")
    before = library.ff_variant()
    if library.ff_select(request.param.encode()):
        pytest.skip(f"this processor or build has no {request.param} kernels")
    yield request.param
    library.ff_select(before)


@pytest.fixture
def thread_counts():
    """Thread counts to compare; torch's own is put back afterwards."""
    before = torch.get_num_threads()
    yield (1, 2, 3, 5)
    torch.set_num_threads(before)
