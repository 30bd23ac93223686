import math
from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer.show import Show
from scene import Scene, avatar, load_scene
from scene.cameras import Camera, intrinsics
from scene.facts import SceneFacts
from scene.frames import NO_ROW, Frame, FrameLoader, PointCloud
from scene.paths import look_at
from tests.building import CPU, built, facts_of
from tests.scene.datasets.tiny_folders import nerfblendshape
from utils.errors import InputError
from utils.rotations import axis_angle_to_matrices

UP = torch.tensor([0.0, 1.0, 0.0])


def speaking(index, x, *values):
    view = look_at(torch.tensor([x, 0.0, 2.0]), torch.zeros(3), UP)
    camera = Camera(view, intrinsics(50.0, 50.0, 16.0, 16.0), 32, 32)
    return Frame(
        camera, index, index / 9, expression=torch.tensor(values), flame_pose=torch.zeros(15)
    )


def scene_of(frames, held_out=1):
    points = PointCloud(torch.zeros(1, 3), torch.zeros(1, 3))
    return Scene(frames[:-held_out], frames[-held_out:], [], points)


def expression_range(scene):
    """(E,) ends of the inner 96 % of the training frames' coefficients, their mean between them."""
    table = torch.stack([frame.expression for frame in scene.train])
    low, high = torch.quantile(table, torch.tensor([0.02, 0.98]), dim=0)
    return low, table.mean(0), high


@pytest.fixture
def scene():
    return scene_of([speaking(k, 0.1 * k - 0.4, float(k), 5.0 - k) for k in range(10)], 2)


def test_a_turn_keeps_its_distance_and_reaches_both_sides(scene):
    frames = avatar.turned(SceneFacts.from_scene(scene), 30.0, 40, playing=False)
    base = scene.test[0].camera.center  # the world is the head, its origin the axis
    centers = torch.stack([frame.camera.center for frame in frames])
    assert torch.allclose(centers.norm(dim=1), base.norm(), atol=1e-5)
    assert torch.allclose(centers[:, 1], base[1], atol=1e-5)  # about the upright axis
    angle = torch.atan2(centers[:, 0], centers[:, 2]) - math.atan2(base[0], base[2])
    assert float(angle.max()) == pytest.approx(math.radians(30), abs=1e-4)
    assert float(angle.min()) == pytest.approx(-math.radians(30), abs=1e-4)
    assert {frame.index for frame in frames} == {scene.test[0].index}
    playing = avatar.turned(SceneFacts.from_scene(scene), 30.0, 40, playing=True)
    assert [frame.index for frame in playing] == [8] * 20 + [9] * 20


def pixel(camera, point):
    seen = camera.viewmat[:3, :3] @ point + camera.viewmat[:3, 3]
    return (camera.K @ seen)[:2] / seen[2]


def moving_head(index):
    """A head that wanders before a camera that stands still."""
    place = torch.eye(4)
    place[:3, 3] = torch.tensor([0.4 + 0.02 * index, 0.3, -0.5])
    return replace(speaking(index, 0.0, 1.0), head_to_world=place)


@pytest.mark.parametrize("playing", [True, False])
def test_a_head_that_moves_turns_about_itself_before_a_camera_that_stands_still(playing):
    scene = scene_of([moving_head(k) for k in range(10)], 4)
    frames = avatar.turned(SceneFacts.from_scene(scene), 30.0, 16, playing=playing)
    still = scene.test[0].camera
    for frame in frames:
        head = frame.head_to_world[:3, 3]
        assert torch.allclose(pixel(frame.camera, head), pixel(still, head), atol=1e-3)
    left, right = frames[4], frames[12]  # a quarter and three quarters of the way
    nose = left.head_to_world[:3, 3] + torch.tensor([0.0, 0.0, 0.1])
    assert float(pixel(left.camera, nose)[0]) < float(pixel(still, nose)[0]) - 0.5
    nose = right.head_to_world[:3, 3] + torch.tensor([0.0, 0.0, 0.1])
    assert float(pixel(right.camera, nose)[0]) > float(pixel(still, nose)[0]) + 0.5


def nodding(index):
    """A head in its own world that root and neck turn before a camera that stands still."""
    frame = speaking(index, 0.0, float(index))
    pose = torch.linspace(-0.1, 0.1, 15)
    pose[3:6] = torch.tensor([0.02 * index, 0.3 - 0.05 * index, 0.01])
    root, neck = axis_angle_to_matrices(pose[:6].reshape(2, 3))
    head = torch.eye(4)
    head[:3, :3] = root @ neck
    camera = replace(frame.camera, viewmat=frame.camera.viewmat @ head)
    return replace(frame, camera=camera, flame_pose=pose, body_to_world=head.T)


def stands(frame):
    """(3, 3) how the camera of a frame is turned against the head's neck at rest."""
    root, neck = axis_angle_to_matrices(frame.flame_pose[:6].reshape(2, 3))
    return frame.camera.viewmat[:3, :3] @ (root @ neck).T


@pytest.mark.parametrize("playing", [True, False])
def test_a_pose_that_says_how_the_head_turns_says_it_of_a_turned_view_too(playing):
    scene = scene_of([nodding(k) for k in range(10)], 4)
    still = stands(scene.test[0])
    frames = avatar.turned(SceneFacts.from_scene(scene), 20.0, 16, playing=playing)
    for k, frame in enumerate(frames):
        told = scene.test[k * 4 // 16 if playing else 0].flame_pose
        assert torch.allclose(stands(frame), still, atol=1e-5)
        assert torch.equal(frame.flame_pose[:3], told[:3])
        assert torch.equal(frame.flame_pose[6:], told[6:])
    turns = torch.stack([frame.flame_pose[4] for frame in frames])
    assert float(turns.max() - turns.min()) > math.radians(35)


def test_a_pose_that_does_not_say_how_the_head_turns_stays():
    frames = [replace(nodding(k), flame_pose=torch.linspace(0, 1, 15)) for k in range(10)]
    facts = SceneFacts.from_scene(scene_of(frames, 4))
    for frame in avatar.turned(facts, 20.0, 8, playing=True):
        assert torch.equal(frame.flame_pose, frames[0].flame_pose)


def test_a_scene_without_a_head_turns_about_the_middle_of_its_points():
    middle = torch.tensor([0.2, 0.1, -0.3])
    silent = scene_of([replace(speaking(k, 0.0), expression=None) for k in range(3)])
    silent = replace(silent, points=PointCloud(middle.repeat(5, 1), torch.zeros(5, 3)))
    for frame in avatar.turned(SceneFacts.from_scene(silent), 30.0, 8, playing=True):
        expected = pixel(silent.test[0].camera, middle)
        assert torch.allclose(pixel(frame.camera, middle), expected, atol=1e-3)


@pytest.fixture
def before_plate(tmp_path):
    """A head before the picture of its room, an untrained avatar of it, and who draws it."""
    nerfblendshape(tmp_path)
    flags = (
        "--method gaussianhead --part all --plate true --hold_out 1 --lambda_vgg 0 --deform_width 8"
    )
    settings = parse_train_args(["-s", str(tmp_path), "--init_points", "5", *flags.split()])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    loader = FrameLoader(0, CPU)
    plate = loader.load(replace(scene.test[0], image_path=scene.test[0].plate_path), torch.ones(3))
    method = built(scene, settings)
    method.table.columns["log_scales"].data.fill_(-5)  # so small that the ground shows
    return scene, facts_of(scene, settings), Show(method, loader), plate.image


def ground_of(show, frame):
    """(C, P) colours of what is drawn where no Gaussian is, and which pixels these are."""
    view = show(show.load(frame))
    bare = view.alpha[0] == 0
    assert bare.any()
    return view.image[:, bare], bare


def test_a_turned_avatar_is_drawn_on_the_plain_background_and_others_before_their_plate(
    before_plate,
):
    scene, facts, show, plate = before_plate
    for frame in avatar.turned(facts, 30.0, 4, playing=True):
        assert (ground_of(show, frame)[0] == 1).all()
    others = avatar.driven(facts, scene, subtract_mean=True, clamp=True)
    others += [row[0] for row in avatar.swept(facts)]
    others += avatar.reenacted(facts, scene, clamp=True)
    for frame in others:
        colors, bare = ground_of(show, frame)
        assert torch.equal(colors, plate[:, bare])


def test_a_rig_plays_every_moment_once_and_in_time_order(scene):
    rig = [
        *scene.test[::-1],
        *[replace(frame, camera=scene.train[0].camera) for frame in scene.test],
    ]
    several = replace(scene, test=rig)
    assert [
        f.index for f in avatar.turned(SceneFacts.from_scene(several), 30.0, 4, playing=True)
    ] == [8, 8, 9, 9]
    driver = replace(several, train=rig[:1])
    assert (
        len(avatar.driven(SceneFacts.from_scene(scene), driver, subtract_mean=True, clamp=True))
        == 2
    )


def saying(*rows):
    """Frames of these coefficients, the last two of them held out."""
    return scene_of([speaking(k, 0.1 * k, *row) for k, row in enumerate(rows)], 2)


def test_a_sweep_moves_one_coefficient_at_a_time_within_the_training_range():
    scene = saying((0.0, 0.0), (1.0, 2.0), (1.0, 0.0), (0.0, 2.0), (0.0, 0.0), (0.0, 0.0))
    facts = SceneFacts.from_scene(scene)
    assert len(avatar.swept(facts)) == 2 + len(avatar.POSES)
    rows = avatar.swept(facts)[:2]
    low, mean, high = expression_range(scene)
    for k, row in enumerate(rows):
        values = torch.stack([frame.expression for frame in row])
        assert torch.allclose(values[:, 1 - k], mean[1 - k])
        assert torch.allclose(values[[0, 2, 4], k], torch.stack([low[k], mean[k], high[k]]))
        assert all(frame.index == NO_ROW and frame.image_path is None for frame in row)


def test_what_training_moves_together_is_swept_together():
    blinks = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.5, 0.0, 0.0, 0.0])
    jaws = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    scene = saying(
        *[(float(b), 0.8 * float(b) + 0.1, float(j)) for b, j in zip(blinks, jaws, strict=True)]
    )
    low, mean, high = expression_range(scene)
    left, right, jaw = avatar.swept(SceneFacts.from_scene(scene))[:3]
    for row in (left, right):
        values = torch.stack([frame.expression for frame in row])
        assert torch.allclose(values[:, 1], 0.8 * values[:, 0] + 0.1, atol=1e-5)
        assert torch.allclose(values[[0, 4], :2], torch.stack([low, high])[:, :2], atol=1e-5)
    moved = torch.stack([frame.expression for frame in jaw])[:, 2]
    assert torch.allclose(moved[[0, 2, 4]], torch.stack([low, mean, high])[:, 2])


def test_where_there_are_poses_jaw_and_gaze_are_swept_and_the_head_stays(scene):
    posed = [
        replace(frame, flame_pose=torch.linspace(0, 1, 15) * (1 + 0.1 * (k % 2)))
        for k, frame in enumerate([*scene.train, *scene.test])
    ]
    facts = SceneFacts.from_scene(scene_of(posed))
    rows, names = avatar.swept(facts), avatar.sweep_names(facts)
    assert names == ["expression 0", "expression 1", *avatar.POSES]
    assert len(rows) == len(names)
    known = facts.conditions["flame_pose"]
    jaw = torch.stack([frame.flame_pose for frame in rows[names.index("jaw pitch")]])
    assert torch.allclose(jaw[[0, 2, 4], 6], torch.stack([known.low, known.mean, known.high])[:, 6])
    assert torch.equal(jaw[:, :6], facts.shown[0].flame_pose[:6].expand(5, 6))
    gaze = torch.stack([frame.flame_pose for frame in rows[names.index("gaze yaw")]])
    assert torch.allclose(gaze[4, [10, 13]], known.high[[10, 13]])
    assert torch.equal(rows[2][0].expression, facts.conditions["expression"].mean)


def test_a_driver_s_mean_stays_behind_and_its_range_is_clamped(scene):
    driver = scene_of([speaking(k, 0.0, 100.0 + 3 * k, 0.0) for k in range(10)])
    driver = replace(driver, test=driver.test, train=driver.train)
    free = avatar.driven(SceneFacts.from_scene(scene), driver, subtract_mean=True, clamp=False)
    values = torch.stack([frame.expression for frame in free])
    low, mean, high = expression_range(scene)
    assert torch.allclose(values.mean(0), mean, atol=1e-4)
    assert torch.allclose(values[1:, 0] - values[:-1, 0], torch.full((9,), 3.0))
    held = torch.stack(
        [
            f.expression
            for f in avatar.driven(
                SceneFacts.from_scene(scene), driver, subtract_mean=True, clamp=True
            )
        ]
    )
    assert (held >= low).all()
    assert (held <= high).all()
    raw = avatar.driven(SceneFacts.from_scene(scene), driver, subtract_mean=False, clamp=False)
    assert float(raw[0].expression[0]) == 100.0
    assert torch.equal(raw[0].camera.viewmat, scene.test[0].camera.viewmat)


@pytest.mark.parametrize("clamp", [False, True])
def test_a_reenactment_keeps_cameras_and_pictures_of_the_other_sequence(scene, clamp):
    loud = [replace(frame, expression=9 * frame.expression + 1) for frame in scene.train]
    other = replace(scene, train=loud, val=[], test=loud[-2:])  # as where nothing is held out
    frames = avatar.reenacted(SceneFacts.from_scene(scene), other, clamp=clamp)
    assert len(frames) == len(loud)
    low, _, high = expression_range(scene)
    for frame, source in zip(frames, sorted(loud, key=lambda frame: frame.time), strict=True):
        assert frame.image_path == source.image_path
        assert frame.camera is source.camera
        assert frame.index == NO_ROW
        value = source.expression.clamp(low, high) if clamp else source.expression
        assert torch.equal(frame.expression, value)


def test_a_sequence_without_the_head_model_of_the_avatar_is_not_reenacted(scene):
    facts = replace(SceneFacts.from_scene(scene), head_model="some fingerprint")
    with pytest.raises(InputError, match="has no head model, the avatar's data has"):
        avatar.reenacted(facts, scene, clamp=True)


def test_a_driver_of_another_tracker_is_refused(scene):
    other = scene_of([speaking(k, 0.0, 1.0, 2.0, float(k)) for k in range(5)])
    with pytest.raises(InputError, match="3 expression coefficients, the avatar was trained on 2"):
        avatar.driven(SceneFacts.from_scene(scene), other, subtract_mean=True, clamp=True)


def test_a_scene_without_expressions_cannot_be_swept():
    silent = scene_of([replace(speaking(k, 0.0, 1.0), expression=None) for k in range(3)])
    with pytest.raises(InputError, match="the dataset has no expression coefficients"):
        avatar.swept(SceneFacts.from_scene(silent))


def test_a_driver_without_what_the_avatar_needs_is_refused(scene):
    frames = [*scene.train, *scene.test]
    silent = scene_of([replace(frame, expression=None) for frame in frames])
    with pytest.raises(InputError, match="the driving sequence has no expression"):
        avatar.driven(SceneFacts.from_scene(scene), silent, subtract_mean=True, clamp=True)
    stiff = scene_of([replace(frame, flame_pose=None) for frame in frames])
    with pytest.raises(InputError, match="the driving sequence has no FLAME poses"):
        avatar.driven(SceneFacts.from_scene(scene), stiff, subtract_mean=True, clamp=True)
