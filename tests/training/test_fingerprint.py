"""What changed of a scene is said in kind; what another machine rounds otherwise is no change."""

from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from scene import load_scene
from scene.frames import Lens, Mask
from tests.tiny_scene import write_tiny_head, write_tiny_scene
from training.fingerprint import END, changes, fingerprint


@pytest.fixture
def frames(tmp_path):
    settings = parse_train_args(["-s", str(write_tiny_scene(tmp_path / "tiny")), "-m", "unused"])
    return load_scene(settings.dataset, settings.model, settings.data).train


@pytest.fixture
def head(tmp_path):
    folder = write_tiny_head(tmp_path / "head")
    settings = parse_train_args(["-s", str(folder), "-m", "unused"])
    return load_scene(settings.dataset, settings.model, settings.data).train


def found(before, after):
    return changes(fingerprint(before), fingerprint(after))


def with_camera(frame, **values):
    return replace(frame, camera=replace(frame.camera, **values))


def test_the_same_frames_have_not_changed(frames, head):
    assert found(frames, list(frames)) == found(head, list(head)) == ""


def test_a_change_of_one_frame_is_named_in_kind(frames):
    first, *others = frames
    camera = first.camera
    moved = camera.viewmat.clone()
    moved[0, 3] += 0.001
    wider = camera.K.clone()
    wider[0, 0] *= 1.0001
    cases = {
        "times": replace(first, time=first.time + 0.001),
        "poses": with_camera(first, viewmat=moved),
        "intrinsics": with_camera(first, K=wider),
        "frames": replace(first, image_path=others[0].image_path),
        "masks": replace(first, mask=Mask(first.image_path)),
        "codes": replace(first, expression=torch.ones(3)),
    }
    for kind, frame in cases.items():
        assert found(frames, [frame, *others]) == kind
    bent = replace(first, lens=Lens((1.0, 1.0, 0.5, 0.5), (0.1, 0.0, 0.0, 0.0, 0.0)))
    assert found(frames, [bent, *others]) == "intrinsics"
    assert found(frames, others) == found(frames, [*others, first]) == "frames"


def test_mirrored_axes_and_longer_distances_are_changed_poses(frames):
    def changed(frame):
        viewmat = frame.camera.viewmat * torch.tensor([[-1.0, 1, 1, 1.5]])
        return with_camera(frame, viewmat=viewmat)

    assert found(frames, [changed(frame) for frame in frames]) == "poses"


def test_another_expression_or_mask_of_a_head_is_seen(head):
    first, *others = head
    other = replace(first, expression=first.expression + torch.tensor([0.0, 0.0, 1e-3]))
    assert found(head, [other, *others]) == "codes"
    before = fingerprint(head)
    first.mask.path.write_bytes(others[0].mask.path.read_bytes())
    assert changes(before, fingerprint(head)) == "masks"


@pytest.mark.parametrize("at", [100, -100])
def test_a_picture_of_the_same_size_and_other_bytes_is_seen(frames, at):
    path = frames[0].image_path
    content = bytearray(path.read_bytes() + bytes(3 * END))
    path.write_bytes(content)
    before = fingerprint(frames)
    content[at] ^= 255
    path.write_bytes(content)
    assert changes(before, fingerprint(frames)) == "pictures"


def test_what_another_machine_rounds_otherwise_is_no_change(frames):
    source = torch.Generator().manual_seed(0)

    def rounded(frame):
        noise = 1 + 1e-7 * torch.randn(4, 4, generator=source, dtype=torch.float64)
        camera = frame.camera
        viewmat = (camera.viewmat.double() * noise).float()
        return with_camera(frame, viewmat=viewmat, K=camera.K * noise[:3, :3].float())

    many = [frame for frame in frames for _ in range(100)]
    noisy = [rounded(frame) for frame in many]
    assert not torch.equal(many[0].camera.viewmat, noisy[0].camera.viewmat)
    assert found(many, noisy) == ""
