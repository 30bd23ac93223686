"""A package's setup.py: compilers found and not found, and what is built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_kernels import VARIANTS, Library, find_compiler
from native_kernels import compiler as compiler_module

SUBMODULES = Path(__file__).resolve().parents[3] / "submodules"


def build(folder, **environment):
    """`setup.py build` in a folder beside native-kernels, as pip would run it."""
    return subprocess.run(
        [sys.executable, "setup.py", "build", "--build-lib", "built"],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path):
    """A project of one tiny kernel beside a copy of native-kernels, as in submodules/."""
    shutil.copytree(SUBMODULES / "native-kernels", tmp_path / "native-kernels")
    folder = tmp_path / "tiny-package"
    (folder / "tiny_package" / "csrc").mkdir(parents=True)
    (folder / "tiny_package" / "__init__.py").touch()
    (folder / "tiny_package" / "csrc" / "kernels.cpp").write_text(
        'extern "C" __attribute__((visibility("default"))) int answer() { return 42; }\n'
    )
    setup = (SUBMODULES / "fused-fields" / "setup.py").read_text()
    (folder / "setup.py").write_text(setup.replace("fused_fields", "tiny_package"))
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "tiny-package"\nversion = "1"\n'
        '[tool.setuptools]\npackages = ["tiny_package", "tiny_package.csrc"]\n'
        '[tool.setuptools.package-data]\ntiny_package = ["csrc/*"]\n'
    )
    return folder


def test_the_package_beside_is_used_and_every_variant_is_built(project):
    if find_compiler() is None:
        pytest.skip("no C++ compiler")
    shared = project.parent / "native-kernels" / "native_kernels"
    (shared / "csrc" / "answer.h").write_text("")  # only the copy beside the project has it
    source = project / "tiny_package" / "csrc" / "kernels.cpp"
    source.write_text('#include "answer.h"\n' + source.read_text())
    done = build(project)
    assert done.returncode == 0, done.stderr
    built = {path.name for path in (project / "built" / "tiny_package").glob("*.so")}
    assert built == {f"_{name}.so" for name in compiler_module.variants_here()}


def test_what_an_older_build_left_behind_is_not_installed(project):
    old = project / "built" / "tiny_package" / "_old.so"
    old.parent.mkdir(parents=True)
    old.touch()
    assert build(project).returncode == 0
    assert not old.exists()


def test_without_a_compiler_one_line_says_so_and_the_package_is_built_all_the_same(project):
    done = build(project, PATH="/nowhere", CXX="", PYTHONPATH=hidden_ziglang(project.parent))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "tiny_package" in line]
    assert "no C++ compiler (c++, g++, clang++ or the ziglang wheel) was found" in line
    package = project / "built" / "tiny_package"
    assert (package / "csrc" / "kernels.cpp").exists()
    assert Library(package, print).why_not()


def test_a_compiler_that_is_not_there_or_fails_stops_the_build_with_one_line(project):
    for command, said in (("no-such-cc", "there is no no-such-cc"), ("false", "'false'")):
        done = build(project, CXX=command)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: the kernels of tiny_package cannot be compiled")
        assert said in last


def test_the_environment_names_the_compiler_with_its_flags(monkeypatch):
    monkeypatch.setenv("CXX", f"'{sys.executable}' -m ziglang c++")
    assert find_compiler() == [sys.executable, "-m", "ziglang", "c++"]


def test_usual_names_come_before_the_ziglang_wheel(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiler_module.shutil, "which", {"g++": "/bin/g++"}.get)
    monkeypatch.setattr(compiler_module, "find_spec", lambda name: object())
    assert find_compiler() == ["/bin/g++"]
    monkeypatch.setattr(compiler_module.shutil, "which", lambda name: None)
    assert find_compiler()[1:] == ["-m", "ziglang", "c++", "-mcpu=baseline"]
    monkeypatch.setattr(compiler_module, "find_spec", lambda name: None)
    assert find_compiler() is None


def test_other_processors_get_the_portable_kernels_alone(monkeypatch):
    monkeypatch.setattr(compiler_module.platform, "machine", lambda: "aarch64")
    assert compiler_module.variants_here() == ["portable"]
    monkeypatch.setattr(compiler_module.platform, "machine", lambda: "AMD64")
    assert compiler_module.variants_here() == list(VARIANTS)


def hidden_ziglang(folder):
    """A folder for PYTHONPATH in which `find_spec("ziglang")` finds nothing."""
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['ziglang'] = None\n"
    )
    return str(folder / "hidden")
