"""A package's libraries: which one is loaded, and which are refused."""

import shutil

import diff_gaussian_rasterization
import fused_fields
import pytest
from native_kernels import VARIANTS, Library, sources

PACKAGES = {
    "diff-gaussian-rasterization": diff_gaussian_rasterization.native.LIBRARY,
    "fused-fields": fused_fields._native.LIBRARY,
}


@pytest.fixture(params=PACKAGES)
def installed(request, tmp_path):
    """A copy of an installed package that may be damaged: its project's name, and its library."""
    original = PACKAGES[request.param]
    if original.why_not():
        pytest.skip(original.why_not())
    folder = shutil.copytree(original.folder, tmp_path / original.folder.name)
    return request.param, Library(folder, original.declare)


def variants_that_run(library):
    found = []
    for name in VARIANTS:
        try:
            library.choose(name)
        except ValueError:
            continue
        found.append(name)
    return found


def test_the_widest_vectors_of_this_processor_are_taken(library, monkeypatch):
    monkeypatch.delenv(library.variable, raising=False)
    best = variants_that_run(library)[-1]
    assert Library(library.folder, library.declare).variant() == best


def test_each_variant_was_compiled_for_its_own_vectors(library):
    widths = {"portable": 16, "avx2": 32, "avx512": 64}
    for name in variants_that_run(library):
        library.choose(name)
        assert library.variant() == name
        assert library.load().vector_bytes() == widths[name]


@pytest.mark.parametrize(("level", "expected"), [(0, "portable"), (1, "avx2"), (2, "avx512")])
def test_a_lesser_processor_gets_lesser_kernels_and_is_not_given_others(
    library, monkeypatch, level, expected
):
    monkeypatch.delenv(library.variable, raising=False)
    if expected not in variants_that_run(library):
        pytest.skip(f"this processor cannot run {expected}")
    lesser = Library(library.folder, library.declare)
    monkeypatch.setattr(lesser._opened("portable"), "native_level", lambda: level)
    assert lesser.variant() == expected
    for name in list(VARIANTS)[level + 1 :]:
        with pytest.raises(ValueError, match=f"'{name}', which this processor cannot run"):
            lesser.choose(name)
    assert lesser.variant() == expected


def test_the_environment_chooses_and_a_name_it_cannot_have_is_refused(library, monkeypatch):
    assert library.variable == "TINY_PACKAGE_VARIANT"
    monkeypatch.setenv(library.variable, "portable")
    assert library.variant() == "portable"
    monkeypatch.setenv(library.variable, "sse9")
    with pytest.raises(ValueError, match=r"TINY_PACKAGE_VARIANT is 'sse9'; .*portable"):
        Library(library.folder, library.declare).load()


def test_a_package_that_was_not_built_says_why(tmp_path):
    assert "built without a C++ compiler" in Library(tmp_path, print).why_not()


def test_installed_packages_load(installed):
    _, library = installed
    assert library.why_not() is None
    assert library.load()


def test_a_library_older_than_its_sources_is_refused(installed):
    project, library = installed
    header = next((library.folder / "csrc").glob("*.h"))
    header.write_text(header.read_text() + "\n// newer\n")
    now = sources.source_hash(library.folder / "csrc")
    with pytest.raises(ImportError, match="built from other sources") as refused:
        library.load()
    was = sources.source_hash(PACKAGES[project].folder / "csrc")
    assert str(library.folder / "_portable.so") in str(refused.value)
    assert f"({was}, not {now})" in str(refused.value)
    assert f"pip install --no-build-isolation ./submodules/{project}" in str(refused.value)


def test_one_stale_variant_among_fresh_ones_is_refused(installed):
    _, library = installed
    best = library._variants_here()[-1]
    if best == "portable":
        pytest.skip("one variant only")
    path = library.folder / f"_{best}.so"
    fresh, code = sources.source_hash(library.folder / "csrc").encode(), path.read_bytes()
    assert fresh in code
    path.write_bytes(code.replace(fresh, b"0123456789abcdef"))
    with pytest.raises(ImportError, match=rf"_{best}\.so .*\(0123456789abcdef, not"):
        library.choose(best)


def test_a_broken_library_is_named_with_the_remedy(installed):
    project, library = installed
    path = library.folder / "_portable.so"
    path.unlink()
    path.write_bytes(b"not a library")
    with pytest.raises(
        ImportError, match=rf"_portable\.so cannot be loaded .*rebuild it.*/{project}"
    ):
        library.load()


def test_shared_headers_and_flags_count_as_sources(tmp_path, monkeypatch):
    for name in ("csrc", "shared"):
        (tmp_path / name).mkdir()
    for path in ("csrc/kernels.cpp", "shared/team.h", "compiler.py", "sources.py"):
        (tmp_path / path).write_text("// first\n")
    monkeypatch.setattr(sources, "HERE", tmp_path)
    monkeypatch.setattr(sources, "SHARED", tmp_path / "shared")
    seen = {sources.source_hash(tmp_path / "csrc")}
    for path in ("csrc/kernels.cpp", "shared/team.h", "compiler.py", "sources.py"):
        (tmp_path / path).write_text("// second\n")
        seen.add(sources.source_hash(tmp_path / "csrc"))
    assert len(seen) == 5
