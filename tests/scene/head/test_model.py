"""The head layer against a NumPy twin written from FLAME's formulas, and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scene.head.model import axis_angle_to_matrices, pose_head
from scripts.demo.toy_head import _geometry, _jaw_opening, toy_head


@pytest.fixture(scope="module")
def model():
    head = toy_head().to("cpu", torch.float64)
    weights = head.skin_weights / head.skin_weights.sum(1, keepdim=True)  # beyond float32's 1
    return replace(head, skin_weights=weights)


def coefficients(seed=0, batch=()):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.0):
        return scale * torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)

    return {
        "flame_pose": draw(15, scale=0.6),
        "shape": draw(100),
        "expression": draw(50),
        "translation": draw(3),
        "static_offset": draw(822, 3, scale=1e-3),
        "eyelids": draw(2).abs(),
    }


def twin(model, flame_pose, shape, expression, translation, static_offset, eyelids):
    """Li et al. 2017 with homogeneous matrices and loops; one head at a time."""
    array = {k: v.numpy() for k, v in vars(model).items() if isinstance(v, torch.Tensor)}
    rest = array["template"] + array["shape_basis"] @ shape + array["expression_basis"] @ expression
    rest = rest + static_offset
    joints = array["joint_regressor"] @ rest
    turns = [Rotation.from_rotvec(r).as_matrix() for r in flame_pose.reshape(5, 3)]
    feature = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    rest = rest + array["pose_basis"] @ feature
    rest = rest + eyelids[0] * array["eyelids"][0] + eyelids[1] * array["eyelids"][1]
    world = []
    for joint, parent in enumerate([-1, 0, 1, 1, 1]):
        local = np.eye(4)
        local[:3, :3] = turns[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if joint else 0)
        world.append(world[parent] @ local if joint else local)
    skinned = np.zeros_like(rest)
    for joint in range(5):
        relative = world[joint].copy()
        relative[:3, 3] -= relative[:3, :3] @ joints[joint]
        moved = rest @ relative[:3, :3].T + relative[:3, 3]
        skinned += array["skin_weights"][:, joint : joint + 1] * moved
    posed = np.stack([matrix[:3, 3] for matrix in world])
    return skinned + translation, posed + translation


@pytest.mark.parametrize("seed", range(4))
def test_layer_equals_the_numpy_twin(model, seed):
    inputs = coefficients(seed)
    posed = pose_head(model, **inputs)
    vertices, joints = twin(model, **{k: v.numpy() for k, v in inputs.items()})
    np.testing.assert_allclose(posed.vertices, vertices, atol=1e-12)
    np.testing.assert_allclose(posed.joints, joints, atol=1e-12)


def test_float32_stays_within_a_micrometre_of_float64(model):
    inputs = coefficients(1)
    single = pose_head(model.to("cpu"), **{k: v.float() for k, v in inputs.items()})
    double = pose_head(model, **inputs)
    torch.testing.assert_close(single.vertices.double(), double.vertices, atol=1e-6, rtol=1e-6)


def test_rest_pose_is_the_template(model):
    posed = pose_head(model, torch.zeros(15, dtype=torch.float64))
    torch.testing.assert_close(posed.vertices, model.template, atol=1e-15, rtol=0)


def test_a_batch_equals_its_heads_one_by_one(model):
    inputs = coefficients(2, batch=(3,))
    together = pose_head(model, **inputs)
    for i in range(3):
        alone = pose_head(model, **{k: v[i] for k, v in inputs.items()})
        for name in ("vertices", "joints", "transforms", "pose_feature"):
            torch.testing.assert_close(getattr(together, name)[i], getattr(alone, name))


def test_batched_poses_share_one_shape(model):
    inputs = coefficients(2, batch=(3,))
    one_shape = inputs["shape"][0]
    broadcast = pose_head(model, inputs["flame_pose"], shape=one_shape)
    repeated = pose_head(model, inputs["flame_pose"], shape=one_shape.expand(3, -1))
    torch.testing.assert_close(broadcast.vertices, repeated.vertices)


def test_transforms_carry_the_vertices_that_move_with_one_joint(model):
    inputs = coefficients(3)
    posed = pose_head(model, **inputs)
    eye = model.masks["left_eyeball"]
    rest = model.template + model.shape_basis @ inputs["shape"] + inputs["static_offset"]
    moved = rest[eye] @ posed.transforms[3, :3, :3].T + posed.transforms[3, :3, 3]
    torch.testing.assert_close(posed.vertices[eye], moved)


def test_root_rotation_turns_the_whole_head_about_the_root_joint(model):
    inputs = coefficients(4) | {"translation": None}
    still = inputs | {"flame_pose": inputs["flame_pose"].clone()}
    still["flame_pose"][:3] = 0
    turn = axis_angle_to_matrices(inputs["flame_pose"][:3])
    before, after = pose_head(model, **still), pose_head(model, **inputs)
    expected = (before.vertices - before.joints[0]) @ turn.T + before.joints[0]
    torch.testing.assert_close(after.vertices, expected)


def test_left_out_coefficients_count_as_zero(model):
    inputs = coefficients(5)
    short = pose_head(model, inputs["flame_pose"], expression=inputs["expression"][:7])
    padded = torch.cat((inputs["expression"][:7], torch.zeros(43, dtype=torch.float64)))
    full = pose_head(model, inputs["flame_pose"], expression=padded)
    torch.testing.assert_close(short.vertices, full.vertices)


def test_too_many_coefficients_are_refused(model):
    with pytest.raises(ValueError, match="51 coefficients, but the head model has 50"):
        pose_head(model, torch.zeros(15).double(), expression=torch.zeros(51).double())


def test_eyelids_are_refused_by_a_model_without_them(model):
    bare = replace(model, eyelids=None)
    with pytest.raises(ValueError, match="no eyelid shapes"):
        pose_head(bare, torch.zeros(15).double(), eyelids=torch.ones(2).double())


def test_personal_model_equals_passing_the_shape(model):
    inputs = coefficients(6)
    own = model.personal(inputs["shape"], inputs["static_offset"])
    rest = {k: v for k, v in inputs.items() if k not in ("shape", "static_offset")}
    torch.testing.assert_close(pose_head(own, **rest).vertices, pose_head(model, **inputs).vertices)


def test_scaled_model_gives_scaled_vertices(model):
    inputs = coefficients(7)
    four = inputs | {n: 4 * inputs[n] for n in ("translation", "static_offset")}
    large, plain = pose_head(model.scaled(4), **four), pose_head(model, **inputs)
    torch.testing.assert_close(large.vertices, 4 * plain.vertices)


@pytest.mark.parametrize(
    "length", [0.0, 1e-9, 1e-5, 0.9999e-4, 1.0001e-4, 0.3, 3.1, np.pi, 3.2, 6.0]
)
def test_rotation_and_its_gradient_are_right_at_every_angle(length):
    axis = torch.tensor([0.48, -0.6, 0.64], dtype=torch.float64)
    vector = (length * axis).requires_grad_()
    expected = Rotation.from_rotvec(vector.detach().numpy()).as_matrix()
    np.testing.assert_allclose(axis_angle_to_matrices(vector).detach(), expected, atol=1e-14)
    assert torch.autograd.gradcheck(axis_angle_to_matrices, vector, atol=1e-7)


@pytest.mark.parametrize("length", [0.0, 1e-5, 0.5, 3.1415])
def test_layer_gradients_pass_finite_differences(model, length):
    generator = torch.Generator().manual_seed(1)
    inputs = coefficients(8)
    pose = inputs["flame_pose"].unflatten(0, (5, 3))
    pose = (length * torch.nn.functional.normalize(pose, dim=-1)).flatten()
    probe = torch.randn(822, 3, generator=generator, dtype=torch.float64)
    names = ("shape", "expression", "translation", "eyelids")
    values = [inputs[n][:6].clone().requires_grad_() for n in names]

    def projected(flame_pose, *rest):
        posed = pose_head(model, flame_pose, **dict(zip(names, rest, strict=True)))
        return (posed.vertices * probe).sum() + posed.joints.sum() + posed.pose_feature.sum()

    assert torch.autograd.gradcheck(projected, (pose.requires_grad_(), *values), atol=1e-6)


def test_sign_conventions_of_the_joints(model):
    def turned(start, angle, vertex):
        pose = torch.zeros(15, dtype=torch.float64)
        pose[start] = angle
        return pose_head(model, pose).vertices[vertex] - model.template[vertex]

    chin = int((model.template[:, 2] - 3 * (model.template[:, 1] + 0.06).abs()).argmax())
    crown, front = 0, int(model.masks["left_eyeball"][0])
    assert turned(6, 0.3, chin)[1] < -0.005  # jaw x opens
    assert turned(3, 0.3, crown)[2] > 0.01  # neck x nods down: the crown comes forward
    assert turned(4, 0.3, front)[0] > 0.01  # neck y turns to the character's left, +x
    assert turned(10, 0.3, front)[0] > 0.001  # eye y looks to the left
    assert turned(9, 0.3, front)[1] < -0.001  # eye x looks down


def test_toy_jaw_reaches_its_open_mouth_exactly(model):
    pose = torch.zeros(15, dtype=torch.float64)
    pose[6] = model.jaw_open_angle
    opened = pose_head(model, pose).vertices
    template, _, lower, _ = _geometry()
    np.testing.assert_allclose(opened, template + _jaw_opening(template, lower), atol=1e-7)


def test_toy_head_is_filled_and_deterministic():
    model = toy_head()
    assert model.fingerprint() == toy_head().fingerprint()
    assert len(model.expression_names) == model.expression_basis.shape[-1] == 50
    torch.testing.assert_close(model.skin_weights.sum(1), torch.ones(822))
    torch.testing.assert_close(model.joint_regressor.sum(1), torch.ones(5))
    for name in ("shape_basis", "expression_basis"):
        assert (getattr(model, name).flatten(0, 1).norm(dim=0) > 1e-4).all(), name


def test_fingerprint_tells_models_apart(model):
    assert model.fingerprint() != model.scaled(2).fingerprint()
