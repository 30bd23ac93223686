"""Fixtures of all tests. Real third-party data is never part of the project: tests that need it
take its place from GAUSSIAN_TEST_DATA, or from ../shared/data beside the checkout, and skip where
it is absent."""

import multiprocessing.process
import os
import subprocess
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import utils.threads  # isort: skip  # noqa: F401  (before torch, as in the commands)
import torch

from arguments import parse_train_args
from tests.methods import CASES, SHIPPED, SMALL_STEPS
from train import train

SMALL = "--init_points 60 --quiet"


def pytest_addoption(parser):
    parser.addoption(
        "--fast", action="store_true", help="skip what starts a process, and long tests"
    )


def pytest_collection_modifyitems(config, items):
    """Tests marked with methods are left out for others; --fast skips what is marked as long."""
    others = [item for item in items if not _is_of_its_methods(item)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
    for item in items:
        if config.getoption("--fast") and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes long, which --fast leaves out"))


def _is_of_its_methods(item):
    marker, params = item.get_closest_marker("methods"), getattr(item, "callspec", None)
    return marker is None or params is None or params.params.get("case") in (None, *marker.args)


@pytest.fixture(scope="session", autouse=True)
def no_processes(pytestconfig):
    """With --fast, a test that is about to start a process (a compiler, too) is skipped there."""

    def leave_out(*args, **kwargs):
        pytest.skip("starts a process, which --fast leaves out")

    with pytest.MonkeyPatch.context() as patch:
        if pytestconfig.getoption("--fast"):
            patch.setattr(subprocess.Popen, "__init__", leave_out)
            patch.setattr(multiprocessing.process.BaseProcess, "start", leave_out)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_curves():
    """Runs draw no curves.png, which takes longer than all their steps; test_train.py does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.logger.draw_curves", lambda folder: None)
        yield


@pytest.fixture(scope="module", params=SHIPPED)
def case(request):
    """Each method in turn."""
    return CASES[request.param]


@pytest.fixture(scope="module")
def tiny_folder(case, tmp_path_factory):
    """The scene of the method's case, which tests must leave as it is."""
    return case.write(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """A function: the folder with `data` and a small trained `model` of a case, made once. Tests
    must leave both as they are."""
    made = {}

    def of(case):
        if id(case) not in made:
            folder = tmp_path_factory.mktemp(f"small_{case.method}")
            flags = ["-s", str(case.write(folder / "data")), "-m", str(folder / "model")]
            flags += [*case.flags(iterations=SMALL_STEPS, first=4), *SMALL.split()]
            train(parse_train_args(flags))
            made[id(case)] = folder
        return made[id(case)]

    return of


@pytest.fixture
def restore_threads():
    """The number of torch's threads is as before when the test ends."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_folder():
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GAUSSIAN_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there; set GAUSSIAN_TEST_DATA")
    return folder
