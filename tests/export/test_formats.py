"""What is written is what software that is not ours reads, within each format's own steps.

Gaussforge reads packed PLY, SPZ and SOG; fourdgs reads glTF. A `.splat` goes through gaussforge's
converter.
"""

import gzip
import io
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from plyfile import PlyData

from export import columns, compressed_ply, formats, glb, ply, sog, splat, spz, spz_v4
from export.columns import columns_of, morton_order
from scene.gaussian_model import Gaussians
from tests.border import refused_cheaply
from utils.errors import InputError
from utils.sh import C0

STILL = [ply, splat, compressed_ply, spz, spz_v4, sog, glb]
BY_MODULE = {f"export.{name}": suffix for suffix, name in formats.MODULES.items()}


def cloud(n=600, degree=3, seed=0):
    """Gaussians as a trained model has them: harmonics small, scales and opacities spread."""
    source = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=source)

    sh = torch.cat([randn(n, 1, 3), 0.2 * randn(n, (degree + 1) ** 2 - 1, 3)], dim=1)
    return Gaussians(
        means=randn(n, 3),
        quats=torch.nn.functional.normalize(randn(n, 4), dim=1),
        scales=(0.7 * randn(n, 3) - 4).exp(),
        opacities=(2 * randn(n, 1)).sigmoid(),
        sh=sh.clamp(-1.6, 1.6),
        sh_degree=degree,
    )


def file_of(module, folder):
    return folder / f"a{BY_MODULE[module.__name__]}"


def degrees_between(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    cosine = np.abs((a * b).sum(1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return 2 * np.degrees(np.arccos(np.clip(cosine, 0, 1)))


def gaussforge_columns(path, kind):
    """(N, ...) arrays: means, log scales, quats wxyz, opacities, dc, rest (N, K, 3).

    Through its converter to PLY, which plyfile reads: its reader knows no degree 0.
    """
    gaussforge = pytest.importorskip("gaussforge")
    answer = gaussforge.GaussForge().convert(path.read_bytes(), kind, "ply")
    assert "error" not in answer, answer
    vertex = PlyData.read(io.BytesIO(answer["data"]))["vertex"]

    def column(pattern):
        names = [p.name for p in vertex.properties if p.name.startswith(pattern)]
        return np.stack([vertex[name] for name in names], 1) if names else np.zeros((1, 0))

    means = np.stack([vertex["x"], vertex["y"], vertex["z"]], 1)
    rest = column("f_rest_")
    return (
        means, column("scale_"), column("rot_"), 1 / (1 + np.exp(-vertex["opacity"])),
        column("f_dc_"), rest.reshape(len(rest), 3, -1).transpose(0, 2, 1),
    )  # fmt: skip


def half_steps(kind, truth):
    """Largest errors that the format's steps allow: place, log scale, degrees, opacity, dc, rest.

    Bits over ranges, as each format's documentation has them; where a code book of 256 is fitted,
    a step of half as many even ones.
    """
    reach = np.abs(truth.means).max()
    span = np.ptp(truth.means, axis=0).max()
    logs = np.ptp(np.log1p(np.abs(truth.means)) * np.sign(truth.means), axis=0).max()
    sizes, colors = np.ptp(np.log(truth.scales)), np.ptp(truth.sh[:, 0])
    byte = 0.5 / 255
    # A step e of each of three components turns by at most 2 sqrt(3) e and what the largest adds.
    return {
        "ply": (0, 1e-6, 1e-3, 1e-6, 0, 0),
        "compressed.ply": (span / 1023 / 2, sizes / 1023 / 2, 0.3, byte, colors / 255 / 2, 8 / 512),
        "spz": (2**-13, 1 / 32, 0.45, byte, byte / 0.15, 0.5 / 128 + 8 / 128),
        "sog": (logs / 65_535 / 2 * (1 + reach), sizes / 128, 1.6, byte, colors / 128, 2e-2),
    }[kind]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "module", [ply, compressed_ply, spz, spz_v4, sog], ids=lambda module: module.__name__
)
def test_gaussforge_reads_what_was_written(module, degree, tmp_path):
    given = cloud(degree=degree)
    file = file_of(module, tmp_path)
    module.write_one(file, given)
    truth = columns_of(given)
    if module is not ply:
        truth = truth.rows(morton_order(truth.means))
    kind = file.name.removeprefix("a.").removeprefix("v4.")
    means, logs, quats, opacities, dc, rest = gaussforge_columns(file, kind)
    place, size, turn, alpha, color, harmonic = half_steps(kind, truth)
    assert np.abs(means - truth.means).max() <= 1.01 * place
    assert np.abs(logs - np.log(truth.scales)).max() <= 1.01 * size
    assert degrees_between(quats, truth.quats).max() < turn
    assert np.abs(opacities - truth.opacities).max() <= 1.01 * alpha
    assert np.abs(dc - truth.sh[:, 0]).max() <= 1.01 * color
    assert rest.shape[1] == (degree + 1) ** 2 - 1
    assert np.abs(rest - truth.sh[:, 1:]).max(initial=0) <= 1.01 * harmonic


def test_gaussforge_reads_our_splat(tmp_path):
    given = cloud(degree=0)
    given = replace(given, sh=given.sh.clamp(-1, 1))
    splat.write_one(tmp_path / "a.splat", given)
    truth = columns_of(given)
    truth = truth.rows(np.argsort(-truth.opacities * truth.scales.prod(1), kind="stable"))
    means, logs, quats, opacities, dc, _ = gaussforge_columns(tmp_path / "a.splat", "splat")
    np.testing.assert_array_equal(means, truth.means)
    np.testing.assert_allclose(logs, np.log(truth.scales), atol=1e-5)
    assert degrees_between(quats, truth.quats).max() < 1
    assert np.abs(opacities - truth.opacities).max() < 2.1e-3
    assert np.abs(dc - truth.sh[:, 0]).max() < 1e-2


def test_a_splat_row_is_32_bytes_by_hand(tmp_path):
    given = cloud(n=1, degree=0)
    splat.write_one(tmp_path / "a.splat", given)
    row = struct.unpack("<6f8B", (tmp_path / "a.splat").read_bytes())
    assert row[:6] == (*given.means[0].tolist(), *given.scales[0].tolist())
    rgb = (given.sh[0, 0] * C0 + 0.5).clamp(0, 1) * 255
    assert row[6:10] == tuple(round(v) for v in (*rgb.tolist(), 255 * given.opacities.item()))
    sign = 1 if given.quats[0, 0] > 0 else -1
    np.testing.assert_allclose((np.array(row[10:]) - 128) / 128 * sign, given.quats[0], atol=4.1e-3)


def test_fourdgs_reads_our_gltf_to_the_last_bit(tmp_path):
    fourdgs = pytest.importorskip("fourdgs")
    given = cloud()
    glb.write_one(tmp_path / "a.glb", given)
    read = fourdgs.from_gltf(str(tmp_path / "a.glb")).gaussians
    truth = columns_of(given)
    np.testing.assert_array_equal(read.positions, truth.means)
    np.testing.assert_allclose(read.scales, truth.scales, rtol=1e-6)
    assert degrees_between(read.rotations[:, [3, 0, 1, 2]], truth.quats).max() < 0.05
    np.testing.assert_allclose(read.colors[:, 3], truth.opacities, atol=1e-6)
    assert read.sh_degree == 3


def test_gltf_says_what_the_extension_demands(tmp_path):
    """By reading the file's JSON and accessors, lines of their own: the table of the extension."""
    given = cloud(n=5)
    glb.write_one(tmp_path / "a.glb", given)
    data = (tmp_path / "a.glb").read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    document, buffer = json.loads(data[20 : 20 + length]), data[28 + length :]
    (primitive,) = document["meshes"][0]["primitives"]
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert primitive["mode"] == 0
    extension = primitive["extensions"]["KHR_gaussian_splatting"]
    assert extension == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    names = set(primitive["attributes"])
    assert len(names) == 5 + 16
    k = primitive["attributes"]["KHR_gaussian_splatting:SH_DEGREE_3_COEF_5"]
    view = document["bufferViews"][document["accessors"][k]["bufferView"]]
    values = np.frombuffer(buffer, "<f4", 15, view["byteOffset"]).reshape(5, 3)
    np.testing.assert_array_equal(values, given.sh[:, 9 + 5])
    low = document["accessors"][primitive["attributes"]["POSITION"]]["min"]
    np.testing.assert_allclose(low, given.means.amin(0))


@pytest.mark.parametrize("module", STILL, ids=lambda module: module.__name__)
def test_our_own_reader_gives_the_same_back(module, tmp_path):
    given = cloud(degree=3)
    module.write_one(file_of(module, tmp_path), given)
    read, truth = columns_of(module.read_one(file_of(module, tmp_path))), columns_of(given)
    order = np.argsort(truth.means[:, 0])
    truth, read = truth.rows(order), read.rows(np.argsort(read.means[:, 0], kind="stable"))
    assert len(read) == len(truth)
    # Rows may come in another order, which rounding may swap: nearest places are compared.
    nearest = np.abs(read.means[:, None] - truth.means[None]).sum(2).argmin(1)
    truth = truth.rows(nearest)
    assert sorted(nearest) == list(range(len(truth)))
    assert np.abs(read.means - truth.means).max() < 4e-3
    assert degrees_between(read.quats, truth.quats).max() < 1.6
    assert np.abs(np.log(read.scales) - np.log(truth.scales)).max() < 6e-2
    assert np.abs(read.opacities - truth.opacities).max() < 4e-3
    if module is not splat:
        assert np.abs(read.sh[:, 1:] - truth.sh[:, 1:]).max() < 6.7e-2


@pytest.mark.parametrize("module", STILL, ids=lambda module: module.__name__)
def test_a_single_gaussian_and_equal_ones_are_written(module, tmp_path):
    one = cloud(n=1)
    same = Gaussians(
        *(getattr(one, name).repeat(300, *[1] * (getattr(one, name).ndim - 1))
          for name in ("means", "quats", "scales", "opacities", "sh")), sh_degree=3,
    )  # fmt: skip
    for given in (one, same):
        module.write_one(file_of(module, tmp_path), given)
        read = module.read_one(file_of(module, tmp_path))
        torch.testing.assert_close(read.means, given.means, atol=2e-4, rtol=0)
        assert torch.isfinite(read.sh).all()


@pytest.mark.parametrize("module", STILL, ids=lambda module: module.__name__)
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_files_are_refused_in_one_line(module, damage, tmp_path):
    file = file_of(module, tmp_path)
    module.write_one(file, cloud(n=40))
    data = file.read_bytes()
    broken = {
        "cut": data[: len(data) // 2 + 1],
        "empty": b"",
        "noise": bytes(np.random.default_rng(0).integers(0, 256, 1001, np.uint8)),
    }
    file.write_bytes(broken[damage])
    refused_cheaply(lambda: module.read_one(file), file.name, len(data))


def test_an_spz_that_unpacks_without_end_is_refused(tmp_path):
    file = tmp_path / "a.spz"
    head = spz.HEADER.pack(spz.MAGIC, spz.VERSION, 10, 3, 12, 0, 0)
    file.write_bytes(gzip.compress(head + bytes(2**28)))
    refused_cheaply(lambda: spz.read_one(file), "expected 650", file.stat().st_size)


def test_both_versions_of_spz_hold_the_same_numbers(tmp_path):
    given = cloud(degree=2)
    for module in (spz, spz_v4):
        module.write_one(file_of(module, tmp_path), given, antialiased=True)
    older, newer = (module.read_one(file_of(module, tmp_path)) for module in (spz, spz_v4))
    for name in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.equal(getattr(older, name), getattr(newer, name))
    data = (tmp_path / "a.v4.spz").read_bytes()
    assert data[:4] == b"NGSP"
    assert struct.unpack_from("<II", data, 4) == (4, 600)
    assert tuple(data[12:16]) == (2, 12, 1, 6)  # degree, bits, antialiased, planes


def test_a_plane_of_version_4_that_says_another_size_is_refused(tmp_path):
    file = tmp_path / "a.v4.spz"
    spz_v4.write_one(file, cloud())
    data = bytearray(file.read_bytes())
    struct.pack_into("<Q", data, 32 + 8, 2**40)
    file.write_bytes(data)
    refused_cheaply(lambda: spz_v4.read_one(file), "expected 5,400", file.stat().st_size)


def test_places_beyond_an_spz_are_refused_and_far_ones_get_fewer_digits(tmp_path):
    given = cloud(n=3)
    far = replace(given, means=1e4 * given.means)
    spz.write_one(tmp_path / "a.spz", far)
    order = morton_order(far.means.numpy())
    torch.testing.assert_close(
        spz.read_one(tmp_path / "a.spz").means, far.means[order], atol=3e-3, rtol=0
    )
    with pytest.raises(InputError, match=r"a\.spz.*more than"):
        spz.write_one(tmp_path / "a.spz", replace(given, means=1e8 * given.means))


def test_a_palette_takes_the_place_of_many_harmonics(tmp_path, monkeypatch):
    monkeypatch.setattr(sog, "PALETTE", 64)
    source = np.random.default_rng(0)
    kinds = source.normal(0, 0.2, (4, 15, 3)).astype(np.float32)
    given = cloud(n=500)
    rest = torch.from_numpy(kinds[source.integers(0, 4, 500)])
    sog.write_one(tmp_path / "a.sog", replace(given, sh=torch.cat([given.sh[:, :1], rest], 1)))
    *_, read = gaussforge_columns(tmp_path / "a.sog", "sog")
    gap = np.abs(read[:, None] - kinds[None]).max((2, 3)).min(1)
    assert gap.max() < 2e-2


def test_suffixes_name_formats_and_the_longest_one_counts(tmp_path):
    assert formats.format_of(tmp_path / "a.compressed.ply") is compressed_ply
    assert formats.format_of(tmp_path / "a.b.PLY") is ply
    assert formats.numbered(tmp_path / "a.compressed.ply", 7).name == "a_00007.compressed.ply"
    with pytest.raises(InputError, match=r"a\.obj: its suffix.*\.glb"):
        formats.format_of(tmp_path / "a.obj")


def test_quaternions_survive_without_their_largest_component():
    quats = columns_of(cloud()).quats
    again = columns.with_largest(*columns.largest_of(quats))
    assert degrees_between(again, quats).max() < 0.05  # from a float32 near 1
    assert math.isclose(np.linalg.norm(again, axis=1).max(), 1, rel_tol=1e-6)
