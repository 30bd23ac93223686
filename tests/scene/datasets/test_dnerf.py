import json
import math

import cv2
import numpy as np
import pytest
import torch

from arguments.settings import ModelParams
from scene import load_scene
from scene.frames import FrameLoader
from utils.errors import InputError

POSE = [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 4], [0, 0, 0, 1]]


@pytest.fixture
def folder(tmp_path):
    """Three training frames, one test and one val frame of 8x8 RGBA, half of it covered."""
    for split, times in {"train": (0.0, 0.4, 1.0), "test": (0.2,), "val": (0.7,)}.items():
        (tmp_path / split).mkdir()
        frames = []
        for k, time in enumerate(times):
            rgba = np.zeros((8, 8, 4), np.uint8)
            rgba[:, :4] = (10, 20, 200, 255)  # OpenCV order: blue, green, red, alpha
            cv2.imwrite(str(tmp_path / split / f"r_{k}.png"), rgba)
            pose = np.array(POSE, dtype=float)
            pose[0, 3] += k
            frames.append(
                {"file_path": f"./{split}/r_{k}", "time": time, "transform_matrix": pose.tolist()}
            )
        content = {"camera_angle_x": math.radians(90), "frames": frames}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(content))
    return tmp_path


def read(folder, **params):
    return load_scene("dnerf", ModelParams(source_path=str(folder), **params))


def edit(folder, change, split="train"):
    file = folder / f"transforms_{split}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_splits_times_and_rows(folder):
    scene = read(folder)
    assert [f.time for f in scene.train] == [0.0, 0.4, 1.0]
    assert [f.index for f in scene.train] == [0, 2, 4]
    assert (len(scene.test), len(scene.val), len(scene.video)) == (1, 1, 160)
    assert scene.video[0].time == 0.0
    assert scene.video[-1].time == 1.0


def test_without_eval_the_test_frames_train(folder):
    assert len(read(folder, eval=False).train) == 4


def test_a_world_point_lands_on_the_pixel_that_geometry_says(folder):
    camera = read(folder).train[0].camera  # at (1, 2, 4), looking down -z; 90 degrees over 8 pixels
    point = torch.tensor([1.5, 2.25, 3.0, 1.0])  # half a unit right, a quarter up, one ahead
    p = camera.viewmat @ point
    pixel = camera.K @ (p[:3] / p[2])
    torch.testing.assert_close(pixel[:2], torch.tensor([4 + 4 * 0.5, 4 - 4 * 0.25]))


def test_pictures_are_composited_on_the_background(folder):
    frame = read(folder).train[0]
    loader = FrameLoader(10, torch.device("cpu"))
    white = loader.load(frame, torch.ones(3))
    black = loader.load(frame, torch.zeros(3))
    torch.testing.assert_close(white.image[:, 0, 0], torch.tensor([200, 20, 10]) / 255)
    assert torch.all(white.image[:, :, 4:] == 1)
    assert torch.all(black.image[:, :, 4:] == 0)
    assert torch.all(white.alpha[:, :, :4] == 1)


def test_resolution_shrinks_picture_and_intrinsics_alike(folder):
    full, small = read(folder).train[0], read(folder, resolution=2).train[0]
    assert (small.camera.width, small.camera.height) == (4, 4)
    torch.testing.assert_close(small.camera.K[:2], full.camera.K[:2] / 2)
    assert FrameLoader(10, torch.device("cpu")).load(small, torch.ones(3)).image.shape == (3, 4, 4)


def test_intrinsics_of_a_frame_go_before_the_scene_s(folder):
    edit(folder, lambda c: c["frames"][0].update(fl_x=5.0, fl_y=6.0, cx=3.0, cy=4.5))
    K = read(folder).train[0].camera.K
    assert (K[0, 0], K[1, 1], K[0, 2], K[1, 2]) == (5.0, 6.0, 3.0, 4.5)


def test_other_clocks_are_brought_to_the_unit_interval(folder):
    for split in ("train", "test", "val"):
        edit(folder, lambda c: [f.update(time=f["time"] * 30) for f in c["frames"]], split)
    assert [f.time for f in read(folder).train] == pytest.approx([0.0, 0.4, 1.0])


def test_random_points_fill_the_cube_the_cameras_look_at_and_repeat(folder):
    a, b = read(folder), read(folder)
    assert torch.equal(a.points.xyz, b.points.xyz)
    assert a.points.xyz.shape == (2000, 3)


def cut_json(folder):
    file = folder / "transforms_train.json"
    file.write_text(file.read_text()[:200])


def nan_pose(content):
    content["frames"][1]["transform_matrix"][0][3] = math.nan


def singular_pose(content):
    content["frames"][1]["transform_matrix"][0] = [0, 0, 0, 0]


BROKEN = {
    "missing image": (lambda d: (d / "train" / "r_1.png").unlink(), "r_1.png"),
    "corrupt image": (lambda d: (d / "train" / "r_1.png").write_bytes(b"not a png"), "r_1.png"),
    "JSON cut in half": (cut_json, "transforms_train.json"),
    "no test file": (lambda d: (d / "transforms_test.json").unlink(), "transforms_test.json"),
    "no frames": (lambda d: edit(d, lambda c: c["frames"].clear()), "lists no frames"),
    "no list of test frames": (
        lambda d: edit(d, lambda c: c.pop("frames"), "test"),
        "transforms_test.json: 'frames' is nothing",
    ),
    "no pose": (
        lambda d: edit(d, lambda c: c["frames"][1].pop("transform_matrix")),
        "frame 1.*transform_matrix",
    ),
    "ragged pose": (
        lambda d: edit(d, lambda c: c["frames"][1]["transform_matrix"].pop()),
        "frame 1.*4x4",
    ),
    "NaN in a pose": (lambda d: edit(d, nan_pose), "frame 1.*NaN"),
    "singular pose": (lambda d: edit(d, singular_pose), "frame 1.*singular"),
    "no time": (lambda d: edit(d, lambda c: c["frames"][1].pop("time")), "frame 1.*'time'"),
    "no angle": (lambda d: edit(d, lambda c: c.pop("camera_angle_x")), "camera_angle_x"),
    "size differs": (lambda d: edit(d, lambda c: c["frames"][1].update(w=16, h=8)), "8x8.*16x8"),
    "a folder as points": (lambda d: (d / "fused.ply").mkdir(), "fused.ply.*it is a folder"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        FrameLoader(10, torch.device("cpu")).preload(read(folder).train)
