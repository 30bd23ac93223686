"""Every kernel of every package compiles, without a warning, for every architecture we promise."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest
from nvrtc_launch.compiler import nvrtc_version

from tests.submodules.emulation.test_emulation import VOCABULARY

pytestmark = pytest.mark.long

pytest.importorskip("cuda.core")
try:
    nvrtc_version()
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
PACKAGES = ["diff_gaussian_rasterization", "fused_fields", "simple_knn"]


def programs() -> list:
    """(name, program, variants) of each package that has kernels."""
    modules = [import_module(f"{name}.cuda") for name in PACKAGES if find_spec(f"{name}.cuda")]
    return [(module.__name__.split(".")[0], module.PROGRAM, module.VARIANTS) for module in modules]


def all_pairs() -> list:
    return [
        pytest.param(program, defines, arch, id=f"{name}-{number}-{arch}")
        for name, program, variants in programs()
        for number, defines in enumerate(variants)
        for arch in ARCHITECTURES
    ]


def enough_pairs() -> list:
    """Every kernel on every architecture and every variant on one: the rest would take minutes.

    Which kernels a variant has follows from which defines it gives, so variants with the same names
    take turns.
    """
    pairs = []
    for name, program, variants in programs():
        groups: dict[tuple[str, ...], list[dict]] = {}
        for defines in variants:
            groups.setdefault(tuple(sorted(defines)), []).append(defines)
        for names, group in groups.items():
            for turn in range(max(len(group), len(ARCHITECTURES))):
                arch = ARCHITECTURES[turn % len(ARCHITECTURES)]
                defines = group[turn % len(group)]
                label = f"{name}-{'-'.join(names)}-{turn}-{arch}"
                pairs.append(pytest.param(program, defines, arch, id=label))
    return pairs


def check(program, defines: dict, arch: str) -> None:
    cubin, log = program.cubin_and_log(arch, **defines)
    assert cubin[:4] == b"\x7fELF"
    assert log == ""


@pytest.mark.parametrize(("program", "defines", "arch"), enough_pairs())
def test_every_kernel_compiles_without_a_warning(program, defines, arch):
    check(program, defines, arch)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "defines", "arch"), all_pairs())
def test_every_variant_compiles_on_every_architecture(program, defines, arch):
    check(program, defines, arch)


def test_the_emulations_own_kernels_are_cuda_too():
    assert VOCABULARY.cubin_and_log("sm_75", REAL="float")[1] == ""
