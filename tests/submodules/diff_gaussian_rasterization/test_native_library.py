"""How the library is found, chosen, and refused; and what happens without one."""

import os
import subprocess
import sys

import diff_gaussian_rasterization as package
import pytest
import torch
from diff_gaussian_rasterization import native, typed

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


@pytest.fixture
def fresh_loading():
    native.library.cache_clear()
    typed.backend.cache_clear()
    yield
    native.library.cache_clear()
    typed.backend.cache_clear()


def test_environment_variable_chooses_the_variant():
    code = "import diff_gaussian_rasterization as d; print(d.variant())"
    assert run_python(code, **{native.CHOICE: "portable"}).stdout.strip() == "portable"
    assert "'sse9'" in run_python(code, **{native.CHOICE: "sse9"}).stderr


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"'sse9'.*avx512, avx2 and portable"):
        package.choose_variant("sse9")


@pytest.mark.usefixtures("fresh_loading")
def test_a_broken_library_is_named_with_the_remedy(tmp_path, monkeypatch):
    broken = tmp_path / "_native.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(native, "_LIBRARY", broken)
    with pytest.raises(ImportError, match=r"_native\.so cannot be loaded .*rebuild it"):
        native.library()


@pytest.mark.usefixtures("fresh_loading")
def test_a_library_of_other_sources_is_refused(monkeypatch):
    monkeypatch.setattr(native, "_source_hash", lambda: "0123456789abcdef")
    with pytest.raises(ImportError, match=r"built from other sources.*0123456789abcdef.*rebuild"):
        native.library()


@pytest.mark.usefixtures("fresh_loading")
def test_without_native_code_the_twin_draws_with_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "_LIBRARY", tmp_path / "missing.so")
    scene = random_scene()
    with pytest.warns(UserWarning, match="slow PyTorch twin") as record:
        first, second = draw_native(scene), draw_native(scene)
    assert len(record) == 1
    for a, b, c in zip(first, second, draw_twin(scene), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, c)
