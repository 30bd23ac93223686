"""Fixtures of all tests. Real third-party data is never part of the project: tests that need it take its
place from GAUSSIAN_TEST_DATA, or from ../shared/data beside the checkout, and skip where it is absent."""

import os
from pathlib import Path

import pytest

import utils.threads  # noqa: F401  (before torch, as in the commands)


@pytest.fixture(scope="session")
def data_folder():
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GAUSSIAN_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there; set GAUSSIAN_TEST_DATA")
    return folder
