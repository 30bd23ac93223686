"""Every kernel of every package compiles, without a warning, for every architecture we promise."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest
from nvrtc_launch.compiler import nvrtc_version

from tests.submodules.emulation.test_emulation import VOCABULARY

pytest.importorskip("cuda.core")
try:
    nvrtc_version()
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
PACKAGES = ["diff_gaussian_rasterization", "fused_fields", "simple_knn"]


def variants() -> list:
    """(program, defines) of each package that has kernels."""
    modules = [import_module(f"{name}.cuda") for name in PACKAGES if find_spec(f"{name}.cuda")]
    return [
        pytest.param(module.PROGRAM, defines, id=f"{module.__name__.split('.')[0]}-{number}")
        for module in modules
        for number, defines in enumerate(module.VARIANTS)
    ]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("program", "defines"), variants())
def test_compiles_without_a_warning(program, defines, arch):
    cubin, log = program.cubin_and_log(arch, **defines)
    assert cubin[:4] == b"\x7fELF"
    assert log == ""


def test_the_emulations_own_kernels_are_cuda_too():
    assert VOCABULARY.cubin_and_log("sm_75", REAL="float")[1] == ""
