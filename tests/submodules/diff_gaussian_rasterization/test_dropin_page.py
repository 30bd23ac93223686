"""docs/drop-in.md keeps its word: its import lines run, and return what its table says."""

import re
from pathlib import Path

import pytest
import torch

from tests.submodules.diff_gaussian_rasterization.raster_scenes import random_scene
from tests.submodules.diff_gaussian_rasterization.test_dropin import settings_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "drop-in.md"
SHAPES = {"color": (3, 37, 50), "radii": (60,), "depth": (1, 37, 50), "invdepth": (1, 37, 50),
          "alpha": (1, 37, 50), "normal": (3, 37, 50), "extra": (0, 37, 50)}  # fmt: skip


def rows():
    """(their line, our line, returned names) of each row that has import lines."""
    table = re.findall(r"^\|.*\| `(from .*)` \| `(from .*)` \| (.*) \|$", PAGE.read_text(), re.M)
    assert len(table) >= 8
    return table


def imported(line):
    names = {}
    exec(line, names)
    return names


@pytest.mark.parametrize("theirs", sorted({row[0] for row in rows()}))
def test_every_name_that_forks_import_can_be_imported(theirs):
    assert imported(theirs)


@pytest.mark.parametrize(
    ("ours", "returned"), [row[1:] for row in rows() if "distCUDA2" not in row[1]]
)
def test_each_line_of_the_table_returns_what_its_row_says(ours, returned):
    names = imported(ours)
    rasterizer = names.get("GaussianRasterizer", names.get("Renderer"))
    scene = random_scene()
    values = rasterizer(raster_settings=settings_of(scene))(
        means3D=scene["means"], means2D=torch.zeros_like(scene["means"]), shs=scene["sh"],
        opacities=scene["opacities"], scales=scene["scales"], rotations=scene["quats"])  # fmt: skip
    assert [tuple(value.shape) for value in values] == [SHAPES[x] for x in returned.split(", ")]


def test_the_table_of_values_names_all_that_is_returned():
    values = set(re.findall(r"^\| (\w+) \| .*[NHW].* \| .* \|$", PAGE.read_text(), re.M))
    assert values == set(SHAPES)
