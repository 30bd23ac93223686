"""How the variant is chosen; and what happens without a library."""

import os
import subprocess
import sys

import diff_gaussian_rasterization as package
import pytest
import torch
from diff_gaussian_rasterization import native, typed
from native_kernels import Library

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    draw_native,
    draw_twin,
    random_scene,
)


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_environment_variable_chooses_the_variant():
    code = "import diff_gaussian_rasterization as d; print(d.variant())"
    assert run_python(code, **{native.LIBRARY.variable: "portable"}).stdout.strip() == "portable"
    assert "'sse9'" in run_python(code, **{native.LIBRARY.variable: "sse9"}).stderr


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"'sse9'.*portable"):
        package.choose_variant("sse9")


def test_without_native_code_the_twin_draws_with_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "LIBRARY", Library(tmp_path, native.LIBRARY.declare))
    typed.backend.cache_clear()
    scene = random_scene()
    with pytest.warns(UserWarning, match="slow PyTorch twin") as record:
        first, second = draw_native(scene), draw_native(scene)
    assert len(record) == 1
    for a, b, c in zip(first, second, draw_twin(scene), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, c)
    typed.backend.cache_clear()
