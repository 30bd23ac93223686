"""Compiling and the two caches, with a card that is only pretended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from nvrtc_launch import CompileError, Program, compiler, driver, program

pytest.importorskip("cuda.core")

CUDA0 = torch.device("cuda", 0)
SOURCE = """
#include <cstdint>
#include "scale.h"
#include "shared.h"
extern "C" __global__ void scale(REAL* values, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) values[i] = values[i] * REAL(FACTOR) + kShift;
}
"""


@pytest.fixture
def source(tmp_path):
    """A package's csrc/cuda/all.cu with a header beside it and one above it."""
    folder = tmp_path / "csrc" / "cuda"
    folder.mkdir(parents=True)
    (folder / "all.cu").write_text(SOURCE)
    (folder / "scale.h").write_text("#define FACTOR 2\n")
    (folder.parent / "shared.h").write_text("constexpr REAL kShift = 1;\n")
    return folder / "all.cu"


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A pretended card; the list holds what was compiled and what was loaded."""
    monkeypatch.setenv("NVRTC_LAUNCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(driver, "describe", lambda device: driver.Card("Card", "sm_90", "13.0"))
    events = []

    def compile_and_count(*arguments):
        events.append("compiled")
        return compiler.compile_cubin(*arguments)

    def load_and_count(cubin, device):
        events.append(cubin)
        return cubin

    monkeypatch.setattr(program, "compile_cubin", compile_and_count)
    monkeypatch.setattr(driver, "load", load_and_count)
    return events


def test_a_cubin_is_machine_code_with_the_kernels_name(source):
    cubin = Program(source).cubin("sm_75", REAL="double")
    assert cubin[:4] == b"\x7fELF"
    assert b".text.scale" in cubin


def test_the_second_process_loads_from_disk(source, card):
    Program(source).kernels(CUDA0, REAL="float")
    Program(source).kernels(CUDA0, REAL="float")
    assert card == ["compiled", card[1], card[1]]


def test_one_process_loads_once(source, card):
    shared = Program(source)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: shared.kernels(CUDA0, REAL="float"), range(8)))
    assert all(kernels is loaded[0] for kernels in loaded)
    assert len(card) == 2
    shared.kernels(torch.device("cuda", 1), REAL="float")
    assert len(card) == 3  # loaded on the other card, from disk


@pytest.mark.parametrize("change", ["source", "beside", "above", "define", "card", "driver"])
def test_whatever_the_machine_code_depends_on_compiles_anew(source, card, monkeypatch, change):
    Program(source).kernels(CUDA0, REAL="float")
    files = {
        "source": source,
        "beside": source.parent / "scale.h",
        "above": source.parent.parent / "shared.h",
    }
    cards = {"card": ("Other", "sm_90", "13.0"), "driver": ("Card", "sm_90", "13.1")}
    if change in files:
        files[change].write_text(files[change].read_text() + "// changed\n")
    if change in cards:
        monkeypatch.setattr(driver, "describe", lambda device: driver.Card(*cards[change]))
    Program(source).kernels(CUDA0, REAL="double" if change == "define" else "float")
    assert card.count("compiled") == 2


def test_a_damaged_cache_file_is_compiled_again(source, card, tmp_path):
    Program(source).kernels(CUDA0, REAL="float")
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(entry.read_bytes()[:-10])
    Program(source).kernels(CUDA0, REAL="float")
    Program(source).kernels(CUDA0, REAL="float")
    assert card.count("compiled") == 2
    assert card[1] == card[3] == card[4]


def test_without_a_writable_cache_everything_works(source, card, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NVRTC_LAUNCH_CACHE", str(tmp_path / "file"))
    Program(source).kernels(CUDA0, REAL="float")
    Program(source).kernels(CUDA0, REAL="float")
    assert card.count("compiled") == 2


def test_a_compile_error_names_file_and_line(source, card, tmp_path):
    (source.parent / "scale.h").write_text("\nint oops(;\n")
    with pytest.raises(CompileError, match=r"all.cu for sm_90 with [\s\S]*scale.h\(2\): error"):
        Program(source).kernels(CUDA0, REAL="float")
    source.write_text(SOURCE.replace("kShift", "missing"))
    (source.parent / "scale.h").write_text("#define FACTOR 2\n")
    with pytest.raises(CompileError, match=r'cuda/all.cu\(7\): error: identifier "missing"'):
        Program(source).kernels(CUDA0, REAL="float")
    assert not (tmp_path / "cache").exists()


def test_an_architecture_that_nvrtc_does_not_know_is_a_compile_error(source):
    with pytest.raises(CompileError, match="sm_999"):
        Program(source).cubin("sm_999", REAL="float")


def test_warnings_come_with_the_machine_code(source):
    assert Program(source).cubin_and_log("sm_75", REAL="float")[1] == ""
    source.write_text(SOURCE.replace("if (i < n)", "int unused; if (i < n)"))
    assert "all.cu(7): warning" in Program(source).cubin_and_log("sm_75", REAL="float")[1]


def test_a_missing_source_is_found_at_the_first_use(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.cu"):
        Program(tmp_path / "nothing.cu").cubin("sm_90")
