import json

import cv2
import numpy as np
import pytest
import torch

from tests.scene.datasets.reading import decode, edit, pixel, read
from tests.scene.datasets.tiny_folders import (
    CX,
    CY,
    FOCAL,
    POINTS,
    RIG,
    hypernerf,
    project,
    write_picture,
    write_ply,
)
from utils.errors import InputError

SCALE, CENTER = 0.5, np.array([0.1, 0.2, 0.3])


@pytest.fixture
def folder(tmp_path):
    hypernerf(tmp_path, scale=SCALE, center=CENTER)
    return tmp_path


def test_cameras_and_points_move_together(folder):
    scene = read("hypernerf", folder, resolution=2)
    for frame, w2c in zip([*scene.train, *scene.test], RIG, strict=True):
        for raw, xyz in zip(POINTS, scene.points.xyz.numpy(), strict=True):
            np.testing.assert_allclose(xyz, (raw - CENTER) * SCALE, atol=1e-6)
            np.testing.assert_allclose(pixel(frame.camera, xyz), project(w2c, raw), atol=1e-3)


def test_resolution_takes_the_folder_of_that_ratio(folder):
    full, half, eighth = (read("hypernerf", folder, resolution=r).train[0] for r in (-1, 2, 8))
    assert (full.image_path.parent.name, full.camera.width, full.camera.height) == ("1x", 32, 24)
    assert (half.image_path.parent.name, half.camera.width, half.camera.height) == ("2x", 16, 12)
    assert (eighth.image_path.parent.name, eighth.camera.width, eighth.camera.height) == (
        "2x",
        4,
        3,
    )
    torch.testing.assert_close(
        half.camera.K, torch.tensor([[FOCAL, 0, CX], [0, FOCAL, CY], [0, 0, 1]])
    )
    torch.testing.assert_close(eighth.camera.K[:2], half.camera.K[:2] / 4)
    decode(read("hypernerf", folder, resolution=8))


def test_the_moments_run_over_the_warp_ids(folder):
    edit(
        folder / "metadata.json", lambda c: [c[f"{k:06d}"].update(warp_id=10 * k) for k in range(3)]
    )
    scene = read("hypernerf", folder)
    assert [(f.time, f.index) for f in [*scene.train, *scene.test]] == [
        (0.0, 0),
        (0.5, 1),
        (1.0, 2),
    ]


def test_frames_of_one_moment_share_a_row(folder):
    edit(folder / "metadata.json", lambda c: c["000001"].update(warp_id=0))
    scene = read("hypernerf", folder)
    assert [f.index for f in scene.train] == [0, 0]


def test_without_val_ids_every_fourth_trains_and_those_between_test(tmp_path):
    hypernerf(tmp_path)
    names = [f"{k:06d}" for k in range(10)]
    for name in names[3:]:
        (tmp_path / "camera" / f"{name}.json").write_text(
            (tmp_path / "camera" / "000000.json").read_text()
        )
        write_picture(tmp_path / "rgb" / "2x" / f"{name}.png")
    edit(tmp_path / "dataset.json", lambda c: c.update(ids=names, train_ids=[], val_ids=[]))
    (tmp_path / "metadata.json").write_text(
        json.dumps({name: {"warp_id": k} for k, name in enumerate(names)})
    )
    scene = read("hypernerf", tmp_path, resolution=2)
    assert [f.index for f in scene.train] == [0, 4, 8]
    assert [f.index for f in scene.test] == [2, 6]


def test_a_bent_lens_is_straightened_where_the_file_says(tmp_path):
    k1 = 1.5
    hypernerf(tmp_path, radial=(k1, 0, 0))
    frame = read("hypernerf", tmp_path, resolution=1).train[0]
    # A white pixel where the bent lens shows a point must come to lie where a pinhole shows it.
    straight = np.array([26.0, 18.0])
    x, y = (straight - [2 * CX, 2 * CY]) / (2 * FOCAL)
    bent = np.array([x, y]) * (1 + k1 * (x * x + y * y)) * 2 * FOCAL + [2 * CX, 2 * CY]
    picture = np.zeros((24, 32, 3), np.uint8)
    row, column = np.floor(bent[::-1]).astype(int)
    picture[row - 1 : row + 2, column - 1 : column + 2] = 255
    cv2.imwrite(str(frame.image_path), picture)
    image = decode(read("hypernerf", tmp_path, resolution=1))[0].image.mean(0).numpy()
    rows, columns = np.indices(image.shape) + 0.5
    found = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
    assert np.abs(bent - straight).max() > 1.2
    np.testing.assert_allclose(found, straight, atol=0.6)


def test_coloured_points_go_before_bare_ones_and_random_points_lie_in_view(folder):
    write_ply(folder / "points3D_downsample2.ply", POINTS[:5])
    scene = read("hypernerf", folder)
    torch.testing.assert_close(scene.points.rgb[0], torch.tensor([200.0, 100, 50]) / 255)
    np.testing.assert_allclose(scene.points.xyz.numpy(), (POINTS[:5] - CENTER) * SCALE, atol=1e-6)
    (folder / "points3D_downsample2.ply").unlink()
    (folder / "points.npy").unlink()
    scene = read("hypernerf", folder, init_points=500)
    assert scene.points.xyz.shape == (500, 3)
    seen = [seen_by_any(scene.train, xyz) for xyz in scene.points.xyz.numpy()]
    assert all(seen)


def seen_by_any(frames, xyz):
    return any(
        (p >= 0).all() and p[0] <= f.camera.width and p[1] <= f.camera.height
        for f in frames
        for p in [pixel(f.camera, xyz)]
    )


def camera_file(change):
    return lambda folder: edit(folder / "camera" / "000001.json", change)


BROKEN = {
    "no dataset file": (lambda d: (d / "dataset.json").unlink(), "dataset.json"),
    "no scene file": (lambda d: (d / "scene.json").unlink(), "scene.json"),
    "no camera": (lambda d: (d / "camera" / "000001.json").unlink(), "camera/000001.json"),
    "no picture": (lambda d: (d / "rgb" / "2x" / "000001.png").unlink(), "rgb/2x/000001.png"),
    "no pictures": (lambda d: (d / "rgb").rename(d / "images"), "rgb.*1x, 2x"),
    "frame without moment": (
        lambda d: edit(d / "metadata.json", lambda c: c.pop("000001")),
        "metadata.json.*'000001'",
    ),
    "train in test": (
        lambda d: edit(d / "dataset.json", lambda c: c["val_ids"].append("000000")),
        "'000000' is in train_ids and in val_ids",
    ),
    "unknown frame": (
        lambda d: edit(d / "dataset.json", lambda c: c["train_ids"].append("7")),
        "'7'.*not among 'ids'",
    ),
    "frame twice": (
        lambda d: edit(d / "dataset.json", lambda c: c["train_ids"].append("000000")),
        "twice",
    ),
    "skewed": (camera_file(lambda c: c.update(skew=3.0)), "000001.json.*skew"),
    "sheared": (
        camera_file(lambda c: c["orientation"][0].__setitem__(0, 2.0)),
        "000001.json.*right angles",
    ),
    "mirrored": (
        camera_file(lambda c: c["orientation"].__setitem__(0, [-x for x in c["orientation"][0]])),
        "mirrors",
    ),
    "no focal length": (camera_file(lambda c: c.pop("focal_length")), "000001.json.*focal_length"),
    "focal length 0": (
        camera_file(lambda c: c.update(focal_length=0)),
        "000001.json.*focal length",
    ),
    "NaN place": (
        camera_file(lambda c: c["position"].__setitem__(0, float("nan"))),
        "000001.json.*position.*NaN",
    ),
    "other size": (
        camera_file(lambda c: c.update(image_size=[64, 48])),
        "000001.png.*16x12.*64x48",
    ),
    "scale 0": (
        lambda d: edit(d / "scene.json", lambda c: c.update(scale=0)),
        "scene.json.*scale 0",
    ),
    "flat points": (lambda d: np.save(d / "points.npy", np.zeros(3)), "points.npy.*matrix"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        read("hypernerf", folder, resolution=2)


def test_the_real_points_land_where_the_camera_files_say(data_folder):
    folder = data_folder / "hypernerf" / "handheld"
    raw = np.load(folder / "points.npy")[::100].astype(np.float64)
    scene = read("hypernerf", folder, resolution=2)
    values = json.loads((folder / "scene.json").read_text())
    for frame in [*scene.train[::5], *scene.test[::5]]:
        camera = json.loads((folder / "camera" / f"{frame.image_path.stem}.json").read_text())
        local = (raw - camera["position"]) @ np.array(camera["orientation"]).T
        front = local[:, 2] > 0
        expected = camera["focal_length"] * local[:, :2] / local[:, 2:] + camera["principal_point"]
        scaled = (raw - values["center"]) * values["scale"]
        found = np.array([pixel(frame.camera, xyz) for xyz in scaled])
        assert front.sum() > 10
        np.testing.assert_allclose(found[front], expected[front] / 2, atol=1e-2, rtol=1e-4)


def test_masks_of_a_folder_cut_the_subject_out(folder, tmp_path_factory):
    masks = tmp_path_factory.mktemp("masks")
    for k in range(3):
        mask = np.zeros((24, 32), np.uint8)
        mask[:, : 8 * (k + 1)] = 255
        cv2.imwrite(str(masks / f"{k:06d}.png"), mask)
    loaded = decode(read("hypernerf", folder, mask_folder=str(masks)))
    shares = sorted(float(frame.alpha.mean()) for frame in loaded)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75], atol=1e-6)
    (masks / "000001.png").unlink()
    with pytest.raises(InputError, match=r"000001\.png: no such mask; --mask_folder wants one"):
        read("hypernerf", folder, mask_folder=str(masks))
