"""Fixtures of all tests. Real third-party data is never part of the project: tests that need it take its
place from GAUSSIAN_TEST_DATA, or from ../shared/data beside the checkout, and skip where it is absent."""

import os
from pathlib import Path

import pytest

import utils.threads  # isort: skip  # noqa: F401  (before torch, as in the commands)
import torch

from tests.methods import CASES, METHODS


@pytest.fixture(scope="module", params=METHODS)
def case(request):
    """Each method in turn."""
    return CASES[request.param]


@pytest.fixture(scope="module")
def tiny_folder(case, tmp_path_factory):
    """The scene of the method's case, which tests must leave as it is."""
    return case.write(tmp_path_factory.mktemp("data") / "tiny")


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
