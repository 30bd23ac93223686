"""How the package finds its kernels, and what it says when it cannot."""

import os
import subprocess
import sys

import torch
from fused_fields import reference, ssim, variant


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_native_kernels_are_built_here():
    assert variant() in ("avx512", "avx2", "portable")


def test_environment_variable_chooses_the_kernels():
    code = "import fused_fields; print(fused_fields.variant())"
    for name in ("portable", "reference"):
        assert run_python(code, FUSED_FIELDS_VARIANT=name).stdout.strip() == name
    unknown = run_python(code, FUSED_FIELDS_VARIANT="sse9")
    assert "FUSED_FIELDS_VARIANT is 'sse9'" in unknown.stderr


def test_missing_library_warns_once_and_runs_the_twin():
    code = (
        "import torch, pathlib, fused_fields, native_kernels\n"
        "fused_fields._native.LIBRARY = native_kernels.Library(pathlib.Path('missing'), print)\n"
        "a = torch.rand(1, 12, 12)\n"
        "print(float(fused_fields.ssim(a, a)), float(fused_fields.ssim(a, a)))"
    )
    ran = run_python(code)
    assert ran.stdout.split() == ["1.0", "1.0"]
    assert ran.stderr.count("slow PyTorch code: missing was built without a C++ compiler") == 1


def test_other_dtypes_go_to_the_twin():
    a, b = torch.rand(2, 1, 16, 16, dtype=torch.bfloat16)
    assert torch.equal(ssim(a, b), reference.ssim(a, b))
