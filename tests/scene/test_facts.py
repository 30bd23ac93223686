"""What a model knows of its scene: written and read back to the bit, and damage is named."""

import json
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor

from arguments.settings import ModelParams
from scene import Subject, load_scene
from scene.datasets.nerfblendshape import DataParams
from scene.facts import FILES, SceneFacts, evenly, moments, statistics
from scene.paths import common_up
from scripts.demo.toy_head import toy_head
from tests.scene.datasets.tiny_folders import nerfblendshape
from tests.tiny_scene import COUNTS, write_tiny_scene
from utils.errors import InputError
from utils.tensors import read_tensors, write_tensors


def same(a, b, where="facts"):
    """Equal to the bit, field by field, and of the same types."""
    assert type(a) is type(b), where
    if is_dataclass(a):
        for f in fields(a):
            same(getattr(a, f.name), getattr(b, f.name), f"{where}.{f.name}")
    elif isinstance(a, Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for name in a:
            same(a[name], b[name], f"{where}[{name}]")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for k, (one, other) in enumerate(zip(a, b, strict=True)):
            same(one, other, f"{where}[{k}]")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def toy_scene(tmp_path_factory):
    folder = write_tiny_scene(tmp_path_factory.mktemp("data") / "tiny")
    return load_scene("dnerf", ModelParams(source_path=str(folder)))


@pytest.fixture(scope="module")
def head_scene(tmp_path_factory):
    """A head before its plate, with a mouth, a shape, a head model, a FLAME pose and a place."""
    folder = tmp_path_factory.mktemp("data") / "head"
    nerfblendshape(folder)
    data = DataParams(part="all", plate=True, hold_out=1)
    scene = load_scene("nerfblendshape", ModelParams(source_path=str(folder)), data)
    turn = torch.eye(4)
    turn[:3, 3] = torch.rand(3, generator=torch.Generator().manual_seed(0))

    def whole(frames):
        extra = {"head_to_world": turn}
        return [replace(f, flame_pose=torch.full((15,), f.time), **extra) for f in frames]

    splits = {name: whole(scene.split(name)) for name in ("train", "test", "video")}
    subject = Subject(torch.tensor([0.1, -0.3]), 4.0, toy_head())
    return replace(scene, **splits, subject=subject)


def test_the_facts_of_a_scene_survive_the_disk_to_the_bit(toy_scene, tmp_path):
    facts = SceneFacts.from_scene(toy_scene, "dnerf")
    facts.write(tmp_path)
    same(SceneFacts.read(tmp_path), facts)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert (facts.plate, facts.subject, facts.conditions, facts.names) == (None, None, {}, {})


def test_the_facts_of_a_head_survive_the_disk_to_the_bit(head_scene, tmp_path):
    facts = SceneFacts.from_scene(head_scene, "nerfblendshape")
    facts.write(tmp_path)
    same(SceneFacts.read(tmp_path), facts)
    assert facts.regions.keys() == {"mouth"}
    assert facts.conditions.keys() == {"flame_pose", "expression"}
    assert facts.names["expression"] == toy_head().expression_names != ()
    assert facts.head_model == toy_head().fingerprint()
    assert (facts.subject.scale, facts.subject.model) == (4.0, None)
    first = head_scene.test[0]
    assert facts.plate.shape == (3, first.camera.height, first.camera.width)
    assert 0 < facts.plate.mean() < 1


def test_facts_are_what_the_scene_s_frames_say(toy_scene):
    facts, xyz = SceneFacts.from_scene(toy_scene, "dnerf"), toy_scene.points.xyz
    cameras = [frame.camera for frame in toy_scene.train]
    assert torch.equal(facts.box, torch.stack([xyz.min(0).values, xyz.max(0).values]))
    assert torch.equal(facts.middle, xyz.sort(0).values[(len(xyz) - 1) // 2])
    assert facts.extent == toy_scene.extent
    assert facts.n_views == len(facts.trained) == COUNTS["train"]
    every = [frame.index for split in ("train", "test", "val") for frame in toy_scene.split(split)]
    assert facts.n_moments == max(every) + 1
    assert facts.trained.tolist() == sorted(frame.index for frame in toy_scene.train)
    assert torch.equal(facts.up, common_up(cameras))
    centers = torch.stack([torch.linalg.inv(camera.viewmat)[:3, 3] for camera in cameras])
    torch.testing.assert_close(facts.eye, centers.mean(0))
    assert [frame.time for frame in facts.shown] == sorted(frame.time for frame in toy_scene.test)
    assert all(frame.image_path is None for frame in (*facts.shown, *facts.video))


def test_statistics_are_those_of_the_training_frames_alone(head_scene):
    found = SceneFacts.from_scene(head_scene).conditions["expression"]
    table = torch.stack([frame.expression for frame in head_scene.train]).double()
    torch.testing.assert_close(found.mean.double(), table.mean(0))
    torch.testing.assert_close(found.spread.double(), table.var(0, correction=0).sqrt())
    ordered = table.sort(0).values  # two frames: quantiles lie on the way between them
    way = ordered[1] - ordered[0]
    torch.testing.assert_close(found.low.double(), ordered[0] + 0.02 * way)
    torch.testing.assert_close(found.high.double(), ordered[0] + 0.98 * way)
    silent = [replace(head_scene.train[0], expression=None), *head_scene.train[1:]]
    assert statistics(silent).keys() == {"flame_pose"}


def test_moments_come_once_in_time_order_and_are_thinned_evenly(toy_scene):
    frames = toy_scene.train
    assert moments([*frames[::-1], *frames]) == sorted(frames, key=lambda frame: frame.time)
    assert evenly(list(range(10)), 5) == [0, 2, 4, 6, 8]
    assert evenly(list(range(3)), 5) == [0, 1, 2]
    assert evenly([], 5) == []


def test_a_folder_of_an_older_version_has_no_facts(tmp_path):
    assert SceneFacts.read(tmp_path) is None


def change_values(change):
    def damage(folder):
        values = json.loads((folder / "scene.json").read_text())
        (folder / "scene.json").write_text(json.dumps(change(values)))

    return damage


def change_tensors(change):
    def damage(folder):
        file = folder / "scene.safetensors"
        write_tensors(file, change(read_tensors(file)))

    return damage


def halved(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


DAMAGE = {
    "cut values": (halved("scene.json"), "scene.json"),
    "values that are a list": (change_values(lambda values: []), "scene.json"),
    "a value less": (change_values(lambda v: v | {"n_views": v.pop("n_moments")}), "scene.json"),
    "a word for a number": (change_values(lambda v: v | {"n_moments": "many"}), "scene.json"),
    "a word for names": (change_values(lambda v: v | {"names": "many"}), "scene.json"),
    "cut tensors": (halved("scene.safetensors"), "scene.safetensors"),
    "no tensors": (lambda folder: (folder / "scene.safetensors").unlink(), "scene.safetensors"),
    "a tensor less": (change_tensors(lambda t: {k: v for k, v in t.items() if k != "up"}), "scene"),
    "half the statistics": (
        change_tensors(lambda t: {k: v for k, v in t.items() if k != "conditions.expression.low"}),
        "scene",
    ),
    "a flat box": (change_tensors(lambda t: t | {"box": t["box"][0]}), "scene"),
    "no cameras": (change_tensors(lambda t: t | {"video.K": t["video.K"][:0]}), "scene"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_facts_are_named_in_one_line(kind, head_scene, tmp_path):
    SceneFacts.from_scene(head_scene).write(tmp_path)
    damage, named = DAMAGE[kind]
    damage(tmp_path)
    with pytest.raises(InputError) as caught:
        SceneFacts.read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / named}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_box_is_never_flat_and_one_of_points_that_differ_is_theirs(toy_scene):
    def box_of(xyz):
        cloud = replace(toy_scene.points, xyz=torch.tensor(xyz), rgb=torch.zeros(len(xyz), 3))
        return SceneFacts.from_scene(replace(toy_scene, points=cloud)).box

    half = toy_scene.extent / 2
    one = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(box_of([[1.0, 2.0, 3.0]]), torch.stack([one - half, one + half]))
    assert torch.equal(box_of([[0.0, 1, 2], [3.0, 4, 5]]), torch.tensor([[0.0, 1, 2], [3, 4, 5]]))
