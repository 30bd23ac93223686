"""What a page's wish draws beside the model: the head model over it, the picture and the error."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer.show import Show
from scene import load_scene
from scene.facts import SceneFacts
from scene.frames import FrameLoader
from scene.methods import make_method
from tests.tiny_scene import write_tiny_flame_head
from utils.devices import CPU
from viewer.drawing import Model, draw
from viewer.mesh import INK, drawn_over, surface
from viewer.wishes import parse

LOOK = {"eye": [3.0, 0, 1], "target": [0, 0, 0], "up": [0, 0, 1], "fov": 0.8}
WISH = '{"id": 1, "width": 96, "height": 96, "look": %s, "camera": 3%s}'


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained avatar of the tiny head, and its scene."""
    folder = write_tiny_flame_head(tmp_path_factory.mktemp("data") / "head", size=96)
    argv = ["-s", str(folder), "--method", "monogaussian", "--init_points", "60"]
    settings = parse_train_args(argv)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    facts = SceneFacts.from_scene(scene, settings.dataset)
    method = make_method(facts, settings, CPU, scene.points)
    return Model(facts, Show(method, FrameLoader(0, CPU)), scene.train, scene.head)


def wish(more=""):
    text = str(LOOK).replace("'", '"')
    return parse(WISH % (text, more and ", " + more))


@pytest.mark.parametrize("k", [0, 3, 5])
def test_the_head_model_lies_where_its_picture_shows_it(model, k):
    """The tiny head's pictures were drawn from its mesh by another program of the tests."""
    frame = model.frames[k]
    vertices = surface(model.head, frame)
    black = np.zeros((96, 96, 3), np.uint8)
    lines = drawn_over(black, frame.camera, vertices, model.head.faces).any(2)
    matte = cv2.imread(str(frame.image_path), cv2.IMREAD_UNCHANGED)[..., 3] > 127
    kernel = np.ones((5, 5), np.uint8)  # its drawing rounds corners to whole pixels
    assert lines.sum() > 500
    assert (lines & ~cv2.dilate(matte.astype(np.uint8), kernel).astype(bool)).sum() == 0
    around = cv2.dilate(lines.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    assert (matte & around).sum() > 0.98 * matte.sum()
    opened = replace(frame, flame_pose=frame.flame_pose.index_fill(0, torch.tensor([6]), 0.6))
    moved = surface(model.head, opened) - vertices
    assert moved.norm(dim=1).max() > 0.01


def test_triangles_behind_the_camera_or_turned_away_draw_nothing(model):
    frame, black = model.frames[0], np.zeros((96, 96, 3), np.uint8)
    vertices, faces = surface(model.head, frame), model.head.faces
    behind = vertices + 2 * (frame.camera.center - vertices)
    assert not drawn_over(black, frame.camera, behind, faces).any()
    both = drawn_over(black, frame.camera, vertices, faces.flip(1))
    inside = drawn_over(black, frame.camera, vertices, faces)
    assert not np.array_equal(both, inside)


def test_a_wish_for_the_mesh_is_drawn_and_one_without_is_the_model_alone(model):
    plain, over = draw([model], wish()), draw([model], wish('"mesh": true'))
    assert plain.shape == over.shape
    changed = (plain != over).any(2)
    ink = np.abs(over.astype(float) - (plain / 2.0 + np.array(INK) / 2.0)).max(2) < 2
    assert changed.sum() > 500
    assert ink.sum() > 200
    assert np.array_equal(draw([replace(model, head=None)], wish('"mesh": true')), plain)


def test_the_error_beside_its_picture_makes_three_panes(model):
    split = '"split": true'
    two, three = draw([model], wish(split)), draw([model], wish(split + ', "mode": "error"'))
    error = draw([model], wish('"mode": "error"'))
    assert (two.shape, three.shape) == ((96, 192, 3), (96, 288, 3))
    assert np.array_equal(three[:, :192], two)
    assert np.array_equal(three[:, 192:], error)
