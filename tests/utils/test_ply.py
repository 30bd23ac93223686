"""Points of PLY files: colours of every type, beside plyfile's reading, and files that are none."""

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from tests.border import refused_cheaply
from utils.errors import InputError
from utils.ply import read_points, read_vertices
from utils.sh import C0

PLACES = [(name, "f4") for name in "xyz"]
HEADER = "ply\nformat ascii 1.0\nelement vertex 1\n"


def write(file, names, kind, values, **form):
    rows = np.zeros(len(values), PLACES + [(name, kind) for name in names])
    for name, column in zip(names, np.transpose(values), strict=True):
        rows[name] = column
    for k, name in enumerate("xyz"):
        rows[name] = np.arange(len(rows)) / 7 + k
    PlyData([PlyElement.describe(rows, "vertex")], **form).write(str(file))
    return file


@pytest.mark.parametrize(
    "form", [{"text": True}, {"byte_order": "<"}, {"byte_order": ">"}], ids=str
)
def test_every_form_reads_as_plyfile_reads_it_and_faces_are_left_out(tmp_path, form):
    vertex = np.array([(1 / 3, 255, -7), (2.5, 0, 9)], [("x", "f4"), ("n", "u1"), ("d", "f8")])
    face = np.array([([0, 1, 1],)], [("vertex_indices", "i4", (3,))])
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    PlyData(elements, comments=["element vertex 9"], **form).write(str(tmp_path / "p.ply"))
    found = read_vertices(tmp_path / "p.ply")
    truth = PlyData.read(str(tmp_path / "p.ply"))["vertex"].data
    assert found.dtype.names == truth.dtype.names
    assert all(np.array_equal(found[name], truth[name]) for name in truth.dtype.names)


@pytest.mark.parametrize("form", [{"text": True}, {"byte_order": "<"}], ids=str)
@pytest.mark.parametrize(
    ("names", "kind", "full"),
    [
        (("red", "green", "blue"), "u1", 255),
        (("red", "green", "blue"), "u2", 65_535),
        (("red", "green", "blue"), "f4", 1),
        (("red", "green", "blue"), "f8", 1),
        (("red", "green", "blue"), "f4", 255),
        (("diffuse_red", "diffuse_green", "diffuse_blue"), "u1", 255),
        (("r", "g", "b"), "u1", 255),
    ],
)
def test_colours_of_every_type_are_parts_of_one(tmp_path, names, kind, full, form):
    parts = np.array([[0.1, 0.5, 0.9], [0.0, 1.0, 0.3]])
    values = parts * full if kind[0] == "f" else (parts * full).round()
    xyz, rgb = read_points(write(tmp_path / "p.ply", names, kind, values, **form))
    torch.testing.assert_close(rgb, torch.tensor(values / full, dtype=torch.float32))
    torch.testing.assert_close(xyz[1], torch.tensor([0.0, 1.0, 2.0]) + 1 / 7)


def test_a_trained_3dgs_file_gives_its_mean_colours(tmp_path):
    rgb = np.array([[0.1, 0.5, 0.9], [0.2, 0.4, 1.0]])
    file = write(tmp_path / "p.ply", [f"f_dc_{k}" for k in range(3)], "f4", (rgb - 0.5) / C0)
    torch.testing.assert_close(read_points(file)[1], torch.tensor(rgb, dtype=torch.float32))


def test_points_without_colour_have_none(tmp_path):
    xyz, rgb = read_points(write(tmp_path / "p.ply", (), "u1", np.zeros((3, 0))))
    assert xyz.shape == (3, 3)
    assert rgb is None


def test_colours_out_of_range_are_refused_and_a_little_beyond_one_is_one(tmp_path):
    names = ("red", "green", "blue")
    file = write(tmp_path / "p.ply", names, "f4", [[0.5, 300, 1]])
    with pytest.raises(InputError, match=r"p\.ply: its colours are from 0\.5 to 300"):
        read_points(file)
    file = write(tmp_path / "p.ply", names, "f4", [[0.5, 1.0001, 1]])
    assert read_points(file)[1].tolist() == [[0.5, 1, 1]]


BAD = {
    "list": HEADER + "property list uchar float x\nend_header\n1 2\n",
    "no type": HEADER + "property quux x\nend_header\n1\n",
    "property of nothing": "ply\nformat ascii 1.0\nproperty float x\nend_header\n",
    "long line": "ply\n" + "x" * 50_000_000,
    "long comment": "ply\nformat ascii 1.0\ncomment " + "x" * 50_000_000 + "\nend_header\n",
    "long row": HEADER + "property float x\nend_header\n" + "1 " * 25_000_000,
    "too many rows": HEADER.replace("1\n", "9" * 18 + "\n") + "property double x\nend_header\n1\n",
    "negative rows": HEADER.replace(" 1\n", " -1\n") + "property double x\nend_header\n1\n",
    "binary rows missing": "ply\nformat binary_little_endian 1.0\nelement vertex 9\n"
    "property double x\nend_header\n" + "x" * 70,
    "negative binary rows": "ply\nformat binary_little_endian 1.0\nelement vertex -1\n"
    "property double x\nend_header\n" + "x" * 80,
    "a name twice": HEADER + "property float x\nproperty float x\nend_header\n1 1\n",
    "row too short": HEADER + "property float x\nproperty float y\nend_header\n1\n",
    "no vertices": "ply\nformat ascii 1.0\nelement face 0\nproperty float x\nend_header\n",
    "empty": "",
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_ply_is_one_line_at_once(tmp_path, case):
    (tmp_path / "p.ply").write_text(BAD[case])
    refused_cheaply(lambda: read_points(tmp_path / "p.ply"), r"p\.ply: ", len(BAD[case]))


def test_a_folder_in_place_of_a_ply_is_named(tmp_path):
    with pytest.raises(InputError, match="it is a folder, expected a file"):
        read_vertices(tmp_path)
