"""Flow between frames: computed, kept, trusted, and read from files of others."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from arguments.settings import ModelParams
from scene import load_scene
from scene.flow import FLOWS, LONGEST, between, following, with_flow
from scripts import make_flow
from tests.tiny_scene import write_tiny_scene
from utils.errors import InputError

SIZE = 64


def texture(size=SIZE):
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 255, (size, size), np.uint8), (0, 0), 2) * 3


def shifted(picture, x, y):
    return np.roll(picture, (y, x), (0, 1))


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """As if one camera had filmed them all."""
    folder = write_tiny_scene(tmp_path_factory.mktemp("flow") / "tiny")
    train = load_scene("dnerf", ModelParams(source_path=str(folder))).train
    return [replace(frame, camera=train[0].camera) for frame in train]


def test_a_shifted_picture_flows_by_its_shift_and_is_trusted():
    flow = between(texture(), shifted(texture(), 3, -2))
    inner = flow[16:-16, 16:-16]
    assert np.abs(np.median(inner[..., 0]) - 3) < 0.2
    assert np.abs(np.median(inner[..., 1]) + 2) < 0.2
    assert inner[..., 2].mean() > 0.95


def test_pictures_that_have_nothing_in_common_are_hardly_trusted():
    rng = np.random.default_rng(1)
    others = [cv2.GaussianBlur(rng.integers(0, 255, (SIZE, SIZE), np.uint8), (0, 0), 2) * 3
              for _ in range(2)]  # fmt: skip
    assert between(*others)[..., 2].mean() < 0.5


def test_what_leaves_the_picture_is_not_trusted():
    flow = between(texture(), shifted(texture(), 8, 0))
    assert flow[16:-16, -6:, 2].mean() < 0.2


def test_a_frame_is_followed_by_that_of_the_next_moment(frames):
    after = following(frames)
    for k, other in enumerate(after):
        later = [frame.time for frame in frames if frame.time > frames[k].time]
        assert other < 0 if not later else frames[other].time == min(later)


def test_in_a_rig_the_nearest_camera_follows(frames):
    rig = [replace(frame, time=float(k % 2), index=k % 2) for k, frame in enumerate(frames)]
    after = following(rig)
    for k, other in enumerate(after):
        if rig[k].time == 1:
            assert other == -1
            continue
        ways = [float((f.camera.center - rig[k].camera.center).norm()) for f in rig if f.time == 1]
        found = float((rig[other].camera.center - rig[k].camera.center).norm())
        assert found == pytest.approx(min(ways))


def test_flow_is_computed_once_for_the_same_pictures(frames, tmp_path, monkeypatch):
    first, share = with_flow(frames, tmp_path)
    assert [frame.flow is None for frame in first] == [k < 0 for k in following(frames)]
    assert all(frame.flow.shape == (3, 24, 24) for frame in first if frame.flow is not None)
    assert 0 <= share <= 1
    monkeypatch.setattr("scene.flow.between", lambda *pictures: pytest.fail("computed again"))
    again, _ = with_flow(frames, tmp_path)
    pairs = [(a.flow, b.flow) for a, b in zip(first, again, strict=True) if a.flow is not None]
    assert pairs
    assert all(torch.equal(a, b) for a, b in pairs)


def test_flow_of_other_pictures_is_not_taken(frames, tmp_path):
    with_flow(frames, tmp_path)
    before = (tmp_path / FLOWS).read_bytes()
    some, _ = with_flow(frames[1:], tmp_path)
    assert (tmp_path / FLOWS).read_bytes() != before
    assert sum(frame.flow is not None for frame in some) == len(frames) - 2


def test_cameras_that_jump_leave_nothing_to_trust(frames, tmp_path):
    turned = torch.diag(torch.tensor([-1.0, 1, -1, 1])) @ frames[0].camera.viewmat
    behind = replace(frames[0].camera, viewmat=turned)
    jumping = [replace(f, camera=behind) if k % 2 else f for k, f in enumerate(frames)]
    found, share = with_flow(jumping, tmp_path)
    assert share == 0
    assert all(frame.flow is None or not frame.flow.any() for frame in found)


def test_one_moment_has_no_flow(frames, tmp_path):
    alone, share = with_flow(frames[:1], tmp_path)
    assert alone[0].flow is None
    assert share is None


def test_files_of_another_tool_are_read_in_their_order_and_made_smaller(frames, tmp_path):
    width, height = 2 * LONGEST, LONGEST
    for k in range(len(frames)):
        flow = np.zeros((height, width, 2), np.float32)
        flow[..., 0] = 2 * k
        if k % 2:
            torch.save(torch.from_numpy(flow), tmp_path / f"{k:02d}.pt")
        else:
            np.save(tmp_path / f"{k:02d}.npy", flow)
    found, _ = with_flow(frames, tmp_path / "unused", str(tmp_path))
    ordered = sorted(found, key=lambda frame: frame.time)
    assert ordered[-1].flow is None
    for k, frame in enumerate(ordered[:-1]):
        assert frame.flow.shape == (3, height // 2, width // 2)
        assert torch.allclose(frame.flow[:, 5, 5].float(), torch.tensor([k, 0, 1.0]))


def test_too_few_files_and_damaged_ones_are_one_line(frames, tmp_path):
    np.save(tmp_path / "0.npy", np.zeros((4, 4, 2), np.float32))
    with pytest.raises(InputError, match=r"1 files of flow .* expected 11"):
        with_flow(frames, tmp_path, str(tmp_path))
    for k in range(11):
        np.save(tmp_path / f"{k}.npy", np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match=r"0\.npy: cannot be read as a flow \(H, W, 2\)"):
        with_flow(frames, tmp_path, str(tmp_path))
    torch.save({"not": print}, tmp_path / "0.pt")
    (tmp_path / "0.npy").unlink()
    with pytest.raises(InputError, match=r"0\.pt: cannot be read"):
        with_flow(frames, tmp_path, str(tmp_path))


def test_the_script_writes_what_train_reads(tmp_path, capsys):
    source = write_tiny_scene(tmp_path / "tiny")
    make_flow.main(["-s", str(source), "-o", str(tmp_path / "flow")])
    assert "11 flows of 12 frames" in capsys.readouterr().out
    assert len(list((tmp_path / "flow").glob("*.png"))) == 11
    scene = load_scene("dnerf", ModelParams(source_path=str(source))).train
    read, _ = with_flow(scene, tmp_path, str(tmp_path / "flow"))
    own, _ = with_flow(scene, tmp_path)
    for a, b in zip(read, own, strict=True):
        assert (a.flow is None) == (b.flow is None)
        assert a.flow is None or torch.equal(a.flow, b.flow)
