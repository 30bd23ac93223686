"""Landmarks follow the surface, and the jaw line the head's yaw."""

from dataclasses import replace

import pytest
import torch

from scene.head.landmarks import contour_row, dynamic_landmarks, head_yaw, landmarks
from scene.head.model import axis_angle_to_matrices, pose_head
from scripts.demo.toy_head import toy_head


@pytest.fixture(scope="module")
def model():
    return toy_head()


def test_landmarks_are_barycentric_points_of_their_triangles(model):
    table = model.landmarks
    faces = torch.arange(70) * 7
    weights = torch.rand(70, 3, generator=torch.Generator().manual_seed(0))
    own = replace(model, landmarks=replace(table, faces=faces, weights=weights))
    found = landmarks(own, torch.stack((model.template, model.template + 1)))
    for i in (0, 13, 69):
        corners = model.template[model.faces[faces[i]]]
        torch.testing.assert_close(found[0, i], (weights[i][:, None] * corners).sum(0))
        torch.testing.assert_close(found[1, i], (weights[i][:, None] * (corners + 1)).sum(0))


@pytest.mark.parametrize(
    ("yaw", "row"), [(0, 0), (0.4, 0), (1, 1), (39, 39), (80, 39), (-1, 40), (-39, 78), (-80, 78)]
)
def test_contour_row_follows_the_table_of_flame(yaw, row):
    assert contour_row(torch.tensor(float(yaw))) == row


def test_yaw_is_positive_when_root_and_neck_turn_left():
    pose = torch.zeros(15)
    pose[1], pose[4] = 0.2, 0.3
    torch.testing.assert_close(head_yaw(pose), torch.rad2deg(torch.tensor(0.5)))


def test_camera_rotation_is_applied_after_the_root():
    pose = torch.zeros(15)
    pose[1] = 0.2
    back = axis_angle_to_matrices(torch.tensor([0.0, -0.2, 0.0]))
    torch.testing.assert_close(head_yaw(pose, back), torch.tensor(0.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("sign", "row"), [(1, 20), (-1, 59)])
def test_dynamic_landmarks_take_the_contour_of_the_yaw_and_the_rest_unchanged(model, sign, row):
    contour = torch.arange(79)[:, None].expand(79, 17).clone()
    own = replace(model, landmarks=replace(model.landmarks, contour_faces=contour))
    pose = torch.zeros(2, 15)
    pose[:, 4] = torch.deg2rad(torch.tensor(20.0))
    vertices = pose_head(own, pose).vertices
    found = dynamic_landmarks(own, vertices, pose, yaw_sign=sign)
    corners = vertices[:, own.faces[row]]
    weights = own.landmarks.contour_weights[row]
    torch.testing.assert_close(found[:, :17], torch.einsum("lk,bkc->blc", weights, corners))
    torch.testing.assert_close(found[:, 17:], landmarks(own, vertices)[:, 17:])


def test_landmarks_need_a_table(model):
    bare = replace(model, landmarks=None)
    with pytest.raises(ValueError, match="put landmark_embedding"):
        landmarks(bare, bare.template)
    static = replace(model, landmarks=replace(model.landmarks, contour_faces=None))
    with pytest.raises(ValueError, match="no dynamic contour"):
        dynamic_landmarks(static, static.template, torch.zeros(15))
