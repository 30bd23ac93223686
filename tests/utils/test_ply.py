import pytest
import torch

from utils.errors import InputError
from utils.ply import read_points

HEADER = "ply\nformat ascii 1.0\nelement vertex 1\n"


def test_points_are_places_and_colours_from_0_to_1(tmp_path):
    file = tmp_path / "p.ply"
    places = "".join(f"property float {name}\n" for name in "xyz")
    colors = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    file.write_text(f"{HEADER}{places}{colors}end_header\n1 2 3 255 0 51\n")
    xyz, rgb = read_points(file)
    assert xyz.tolist() == [[1.0, 2.0, 3.0]]
    torch.testing.assert_close(rgb, torch.tensor([[1.0, 0.0, 0.2]]))


def test_points_without_colour_are_refused(tmp_path):
    file = tmp_path / "p.ply"
    header = (
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        "property float z\nend_header\n"
    )
    file.write_text(header + "1 2 3\n")
    with pytest.raises(InputError, match="red, green, blue"):
        read_points(file)
