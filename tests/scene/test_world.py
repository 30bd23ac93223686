"""Scenes far away, huge and tiny are trained near the origin and in usual units."""

import numpy as np
import pytest
import torch
from plyfile import PlyData

from export import ply
from scene.avatar import reenacted
from scene.facts import SceneFacts
from scene.gaussian_model import Gaussians
from scene.world import AS_IT_IS, World
from tests.scene.datasets import tiny_folders
from tests.scene.datasets.reading import pixel, read
from tests.scene.datasets.tiny_folders import POINTS, RIG, TINY

PLACED = ("dnerf", "dynerf", "ub4d", "colmap", "gaussianavatars")  # whose poses are absolute
NO_UNIT = ("gaussianavatars",)  # FLAME's metres


def elsewhere(monkeypatch, folder, name, scale, shift):
    """Write the tiny folder with all places times `scale` plus `shift` (3,)."""
    rig = [w2c.copy() for w2c in RIG]
    for w2c in rig:
        w2c[:3, 3] = scale * w2c[:3, 3] - w2c[:3, :3] @ shift
    monkeypatch.setattr(tiny_folders, "RIG", rig)
    monkeypatch.setattr(tiny_folders, "POINTS", scale * POINTS + shift)
    plain = tiny_folders.flame_numbers
    monkeypatch.setattr(
        tiny_folders,
        "flame_numbers",
        lambda k: {**plain(k), "translation": plain(k)["translation"].astype(np.float64) + shift},
    )
    folder.mkdir()
    TINY[name](folder)
    for file in folder.glob("*.ply"):
        file.write_text(file.read_text().replace("property float", "property double"))
    return folder


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize(("scale", "shift"), [(1, 5e5), (1000, 0), (0.001, 0), (60, 3e7)])
def test_a_point_is_seen_where_float64_sees_it(name, scale, shift, tmp_path, monkeypatch):
    shift = shift * np.array([1.0, -0.7, 0.3])
    if scale != 1 and name in NO_UNIT:
        pytest.skip("its unit is FLAME's")
    plain = read(name, elsewhere(monkeypatch, tmp_path / "plain", name, 1, np.zeros(3)))
    moved = read(name, elsewhere(monkeypatch, tmp_path / "moved", name, scale, shift))
    assert plain.world == AS_IT_IS
    assert moved.world != AS_IT_IS
    for a, b in zip(plain.train + plain.test, moved.train + moved.test, strict=True):
        for xyz in POINTS:
            ours = moved.world.own(torch.tensor(scale * xyz + shift)).tolist()
            assert pixel(b.camera, ours) == pytest.approx(pixel(a.camera, xyz), abs=0.01)
        if a.head_to_world is not None:
            head = moved.world.theirs(b.head_to_world[:3, 3]) - torch.tensor(shift)
            assert torch.allclose(head, a.head_to_world[:3, 3].double(), atol=1e-5)
    if name in ("dynerf", "colmap"):  # their folders have points
        theirs = moved.world.theirs(moved.points.xyz).numpy()
        assert theirs == pytest.approx(scale * POINTS + shift, abs=1e-5 * scale)


@pytest.mark.parametrize("name", ["nerface", "nerfblendshape", "hypernerf"])
@pytest.mark.parametrize("scale", [1000, 1e-4])
def test_a_scene_of_another_unit_has_a_usual_size(name, scale, tmp_path, monkeypatch):
    scene = read(name, elsewhere(monkeypatch, tmp_path / "moved", name, scale, np.zeros(3)))
    assert scene.world.unit != 1
    middle = scene.points.xyz.median(0).values
    assert 1 < float((scene.train[0].camera.center - middle).norm()) < 10
    assert 0.1 < float((scene.points.xyz - middle).abs().max()) < 10


def test_the_world_of_a_scene_is_a_round_number(tmp_path, monkeypatch):
    shift = np.array([5e5, 4.2e6, 0.0])
    scene = read("dnerf", elsewhere(monkeypatch, tmp_path / "moved", "dnerf", 60, shift))
    assert scene.world == World((5e5, 4.2e6, 0.0), 60.0)


def test_an_exported_model_stands_where_the_dataset_has_it(tmp_path, monkeypatch):
    shift = np.array([5e5, 4.2e6, 0.0])
    scene = read("colmap", elsewhere(monkeypatch, tmp_path / "moved", "colmap", 60, shift))
    n, facts = len(POINTS), SceneFacts.from_scene(scene)
    shown = Gaussians(scene.points.xyz, torch.rand(n, 4), torch.full((n, 3), 0.5),
                      torch.full((n, 1), 0.5), torch.zeros(n, 1, 3))  # fmt: skip
    ply.write(tmp_path / "a.ply", [shown], facts)
    vertex = PlyData.read(tmp_path / "a.ply")["vertex"]
    places = np.stack([vertex[axis] for axis in "xyz"], axis=1)
    assert places == pytest.approx(60 * POINTS + shift, abs=1e-4)
    assert np.exp(vertex["scale_0"]) == pytest.approx(0.5 * 60)


def test_facts_keep_the_world(tmp_path, monkeypatch):
    scene = read("dnerf", elsewhere(monkeypatch, tmp_path / "moved", "dnerf", 60, np.full(3, 5e5)))
    SceneFacts.from_scene(scene).write(tmp_path)
    assert SceneFacts.read(tmp_path).world == scene.world


def test_a_sequence_in_another_unit_is_reenacted_where_the_avatar_is(tmp_path, monkeypatch):
    name = "nerfblendshape"
    scenes = [
        read(name, elsewhere(monkeypatch, tmp_path / str(k), name, k, np.zeros(3))) for k in (1, 60)
    ]
    assert scenes[0].world != scenes[1].world
    for ours in scenes:
        (theirs,) = (scene for scene in scenes if scene is not ours)
        for frame, own in zip(
            reenacted(SceneFacts.from_scene(ours), theirs, clamp=False),
            theirs.train + theirs.test,
            strict=True,
        ):
            # Places of theirs, in their dataset's units, in ours.
            place = own.camera.viewmat[:3, 3] * theirs.world.unit / ours.world.unit
            assert torch.allclose(frame.camera.viewmat[:3, 3], place, rtol=1e-5)


def test_a_reader_that_knows_no_other_world_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "held", lambda world, c2w: c2w)
    scene = read("dnerf", elsewhere(monkeypatch, tmp_path / "a", "dnerf", 60, np.zeros(3)))
    assert scene.world == AS_IT_IS
