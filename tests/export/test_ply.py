import numpy as np
import pytest
import torch
from plyfile import PlyData

from export.ply import read_gaussians, read_points, write_gaussians
from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable
from utils.errors import InputError


@pytest.fixture
def table():
    source = torch.Generator().manual_seed(0)
    table = GaussianTable.from_points(PointCloud(torch.rand(9, 3, generator=source), torch.rand(9, 3)), 3)
    with torch.no_grad():
        for column in table.columns.values():
            column.copy_(torch.randn(column.shape, generator=source))
    return table


def test_the_layout_is_the_usual_62_floats(table, tmp_path):
    write_gaussians(tmp_path / "a.ply", table.columns)
    data = PlyData.read(tmp_path / "a.ply")
    names = [p.name for p in data["vertex"].properties]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{k}" for k in range(45)]
    assert names[54:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert data.byte_order == "<"
    assert (tmp_path / "a.ply").stat().st_size - 248 * 9 < 1700  # header
    rest = table.columns["sh_rest"]
    assert data["vertex"]["f_rest_17"][4] == rest[4, 2, 1].item()  # channel-major: 1 * 15 + 2


def test_what_is_written_is_read_back(table, tmp_path):
    write_gaussians(tmp_path / "a.ply", table.columns)
    columns = read_gaussians(tmp_path / "a.ply", 3)
    assert columns.keys() == table.columns.keys()
    for name, column in table.columns.items():
        assert torch.equal(columns[name], column.detach()), name


def test_another_sh_degree_is_refused_with_both_degrees(table, tmp_path):
    write_gaussians(tmp_path / "a.ply", table.columns)
    with pytest.raises(InputError, match=r"a\.ply.*degree 3.*degree 1"):
        read_gaussians(tmp_path / "a.ply", 1)


def test_a_truncated_file_is_refused(table, tmp_path):
    write_gaussians(tmp_path / "a.ply", table.columns)
    whole = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"a\.ply"):
        read_gaussians(tmp_path / "a.ply", 3)


def test_points_without_colour_are_refused(tmp_path):
    file = tmp_path / "p.ply"
    header = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    file.write_text(header + "1 2 3\n")
    with pytest.raises(InputError, match="red, green, blue"):
        read_points(file)


def test_genuine_3dgs_output_is_read(data_folder):
    file = data_folder / "splats/kacytran1122_try/point_cloud/iteration_7000/point_cloud.ply"
    columns = read_gaussians(file, 3)
    assert len(columns["means"]) == 9080
    assert np.isfinite(columns["sh_rest"].numpy()).all()
