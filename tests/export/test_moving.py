"""Files that hold all moments, read by their authors' own packages."""

import numpy as np
import pytest
import torch

from export import keyframes, usdc
from export.about import About
from export.columns import columns_of
from scene.gaussian_model import Gaussians
from tests.border import refused_cheaply
from tests.export.test_formats import cloud, degrees_between

SECONDS = 2.0
ABOUT = About(SECONDS, False, (1.0, 1.0, 1.0), (0.0, 0.0, 4.0), (0.0, 0.0, 0.0), 0.8)


def walk(n=50, moments=5, degree=3):
    """A cloud whose rows drift and turn; colours and sizes stay."""
    first = cloud(n, degree)
    source = torch.Generator().manual_seed(3)
    drift, spin = (torch.randn(n, width, generator=source) for width in (3, 4))
    return [
        Gaussians(
            first.means + 0.1 * k * drift,
            torch.nn.functional.normalize(first.quats + 0.05 * k * spin, dim=1),
            first.scales, first.opacities, first.sh, sh_degree=degree,
        )
        for k in range(moments)
    ]  # fmt: skip


def test_usd_reads_every_moment_and_what_is_between(tmp_path):
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdVol

    frames = walk()
    usdc.write_moving(tmp_path / "a.usdc", frames, ABOUT)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert stage.GetEndTimeCode() / stage.GetTimeCodesPerSecond() == SECONDS
    splat = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    positions = splat.GetPositionsAttr()
    for k, frame in enumerate(frames):
        np.testing.assert_array_equal(np.array(positions.Get(k)), frame.means)
        turns = np.array(splat.GetOrientationsAttr().Get(k))[:, [3, 0, 1, 2]]
        assert degrees_between(turns, frame.quats.numpy()).max() < 0.05
    between = (frames[1].means + frames[2].means) / 2
    np.testing.assert_allclose(np.array(positions.Get(1.5)), between, atol=1e-6)
    np.testing.assert_array_equal(
        np.array(splat.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()),
        frames[0].sh.reshape(-1, 3),
    )
    assert splat.GetScalesAttr().GetNumTimeSamples() == 0  # written once
    low, high = np.array(splat.GetExtentAttr().Get(4.0))
    assert (low < frames[4].means.numpy().min(0)).all()
    assert (high > frames[4].means.numpy().max(0)).all()


def test_fourdgs_reads_the_first_moment_of_our_usd(tmp_path):
    fourdgs = pytest.importorskip("fourdgs")
    pytest.importorskip("pxr")
    frames = walk()
    usdc.write_moving(tmp_path / "a.usdc", frames, ABOUT)
    read, truth = fourdgs.from_usd(str(tmp_path / "a.usdc")).gaussians, columns_of(frames[0])
    np.testing.assert_allclose(read.positions, truth.means, atol=1e-6)
    np.testing.assert_allclose(read.scales, truth.scales, rtol=1e-5)
    np.testing.assert_allclose(read.colors[:, 3], truth.opacities, atol=1e-6)
    assert degrees_between(read.rotations[:, [3, 0, 1, 2]], truth.quats).max() < 0.05
    assert read.sh_degree == 3


def test_a_4dgs_file_is_valid_and_moves_in_straight_lines(tmp_path):
    validate = pytest.importorskip("fourdgs.validate")
    frames = walk(degree=0)
    file = tmp_path / "a.4dgs"
    keyframes.write_moving(file, frames, ABOUT)
    report = validate.validate(file.read_bytes())
    assert report.ok, report
    for part, truth in (
        (0.0, frames[0].means),
        (0.25, frames[1].means),
        (0.375, (frames[1].means + frames[2].means) / 2),
        (1.0, frames[4].means),
    ):
        found = keyframes.read_moving(file, part)
        np.testing.assert_allclose(found.means, truth, atol=2e-3)
        torch.testing.assert_close(found.opacities, frames[0].opacities, atol=4e-3, rtol=0)
    truth = frames[1].quats.numpy()
    assert degrees_between(keyframes.read_moving(file, 0.26).quats.numpy(), truth).max() < 1.5


@pytest.mark.parametrize("module", [usdc, keyframes], ids=lambda module: module.__name__)
def test_damaged_files_are_refused_in_one_line(module, tmp_path):
    pytest.importorskip("pxr")
    pytest.importorskip("fourdgs")
    file = tmp_path / ("a.usdc" if module is usdc else "a.4dgs")
    module.write_moving(file, walk(degree=0), ABOUT)
    data = file.read_bytes()
    for broken in (data[: len(data) // 2], b"", b"no such thing" * 100):
        file.write_bytes(broken)
        refused_cheaply(lambda: module.read_moving(file, 0.0), file.name, len(data))
