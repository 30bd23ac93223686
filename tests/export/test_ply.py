import numpy as np
import pytest
import torch
from plyfile import PlyData

from export import ply
from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable, activate
from utils.errors import InputError


@pytest.fixture
def table():
    source = torch.Generator().manual_seed(0)
    table = GaussianTable.from_points(
        PointCloud(torch.rand(9, 3, generator=source), torch.rand(9, 3)), 3
    )
    with torch.no_grad():
        for column in table.columns.values():
            column.copy_(torch.randn(column.shape, generator=source))
    return table


def test_the_layout_is_the_usual_62_floats(table, tmp_path):
    ply.write(tmp_path / "a.ply", [activate(table.columns, 3)])
    data = PlyData.read(tmp_path / "a.ply")
    names = [p.name for p in data["vertex"].properties]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{k}" for k in range(45)]
    assert names[54:] == [
        "opacity",
        "scale_0",
        "scale_1",
        "scale_2",
        "rot_0",
        "rot_1",
        "rot_2",
        "rot_3",
    ]
    assert data.byte_order == "<"
    assert (tmp_path / "a.ply").stat().st_size - 248 * 9 < 1700  # header
    rest = table.columns["sh_rest"]
    assert data["vertex"]["f_rest_17"][4] == rest[4, 2, 1].item()  # channel-major: 1 * 15 + 2


def test_an_antialiased_model_says_so_to_viewers(table, tmp_path):
    for antialiased, comments in ((False, []), (True, ["SplatRenderMode: mip"])):
        file = tmp_path / "a.ply"
        ply.write(file, [activate(table.columns, 3)], antialiased=antialiased)
        assert PlyData.read(file).comments == comments
    assert ply.read(file, 3).keys() == table.columns.keys()


def test_what_is_written_is_read_back(table, tmp_path):
    ply.write(tmp_path / "a.ply", [activate(table.columns, 3)])
    columns = ply.read(tmp_path / "a.ply", 3)
    assert columns.keys() == table.columns.keys()
    for name in ("means", "sh_dc", "sh_rest"):
        assert torch.equal(columns[name], table.columns[name].detach()), name
    shown, again = activate(table.columns, 3), activate(columns, 3)
    for name in ("quats", "scales", "opacities"):  # went through their activations and back
        expected = getattr(shown, name).detach()
        torch.testing.assert_close(getattr(again, name), expected, rtol=2e-6, atol=1e-7)


def test_a_file_per_posed_frame_with_its_number(table, tmp_path):
    moved = GaussianTable({**table.columns, "means": table.columns["means"].detach() + 1})
    frames = (activate(columns, 3) for columns in (table.columns, moved.columns, moved.columns))
    ply.write(tmp_path / "a.ply", frames)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.ply", "a_00001.ply", "a_00002.ply"]
    still, later = (ply.read(tmp_path / name, 3)["means"] for name in names[:2])
    assert torch.equal(later, still + 1)


def test_no_opacity_is_written_as_infinity(table, tmp_path):
    with torch.no_grad():
        table.columns["opacity_logits"][:2] = torch.tensor([[-200.0], [200.0]])
    shown = activate(table.columns, 3)
    assert shown.opacities[:2, 0].tolist() == [0, 1]
    ply.write(tmp_path / "a.ply", [shown])
    found = ply.read(tmp_path / "a.ply", 3)["opacity_logits"]
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.sigmoid(), shown.opacities.detach(), rtol=2e-6, atol=1e-7)


def test_another_sh_degree_is_refused_with_both_degrees(table, tmp_path):
    ply.write(tmp_path / "a.ply", [activate(table.columns, 3)])
    with pytest.raises(InputError, match=r"a\.ply.*degree 3.*degree 1"):
        ply.read(tmp_path / "a.ply", 1)


def test_a_truncated_file_is_refused(table, tmp_path):
    ply.write(tmp_path / "a.ply", [activate(table.columns, 3)])
    whole = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"a\.ply"):
        ply.read(tmp_path / "a.ply", 3)


def test_genuine_3dgs_output_is_read(data_folder):
    file = data_folder / "splats/kacytran1122_try/point_cloud/iteration_7000/point_cloud.ply"
    columns = ply.read(file, 3)
    assert len(columns["means"]) == 9080
    assert np.isfinite(columns["sh_rest"].numpy()).all()
