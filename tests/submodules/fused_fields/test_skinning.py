"""Linear blend skinning: kernels against the PyTorch twin in double, and finite differences."""

import pytest
import torch
from fused_fields import reference, skin
from fused_fields import skinning as module


def random_inputs(rows, joints=6, *, canonical=True, dtype=torch.float32):
    """Inputs in order, the canonical bones last or None; bones that also shear."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=dtype)

    def bones():
        return torch.eye(3, 4, dtype=dtype) + 0.2 * normal(joints, 3, 4)

    learned = [
        normal(rows, 3), 0.1 * normal(rows, 3), normal(rows, joints).softmax(1), normal(rows, 4),
        bones(), torch.tensor([1.0, 0, 0, 0], dtype=dtype) + 0.3 * normal(joints, 4),
    ]  # fmt: skip
    return [*(t.requires_grad_() for t in learned), bones() if canonical else None]


def in_double(inputs):
    return [t if t is None else t.detach().double().requires_grad_(t.requires_grad) for t in inputs]


def values_and_grads(function, inputs):
    """The two outputs, and the gradients that fixed cotangents give the inputs."""
    found = function(*inputs)
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    draw = torch.Generator().manual_seed(1)
    pulls = [torch.randn(t.shape, generator=draw, dtype=torch.float64).to(t) for t in found]
    return [*found, *torch.autograd.grad(found, wanted, pulls)]


@pytest.mark.parametrize("canonical", [True, False])
@pytest.mark.parametrize(("rows", "joints"), [(1100, 6), (513, 1), (3, 17)])  # over two chunks
def test_values_and_gradients_match_torch_in_double(variant, rows, joints, canonical):
    inputs = random_inputs(rows, joints, canonical=canonical)
    truth = values_and_grads(reference.skin, in_double(inputs))
    for mine, true in zip(values_and_grads(skin, inputs), truth, strict=True):
        assert (mine - true).norm() <= 5e-6 * true.norm()


def test_doubles_match_to_their_own_precision(variant):
    inputs = random_inputs(70, dtype=torch.float64)
    truth = values_and_grads(reference.skin, inputs)
    for mine, true in zip(values_and_grads(skin, inputs), truth, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("canonical", [True, False])
def test_gradients_match_finite_differences(canonical):
    *learned, still = random_inputs(4, 3, canonical=canonical, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *inputs: skin(*inputs, still), learned)


def test_what_the_bones_did_is_undone_and_done_again():
    """By the same bones, without a shift."""
    points, _, weights, quats, bones, turns, _ = random_inputs(200, dtype=torch.float64)
    found, _ = skin(points, torch.zeros_like(points), weights, quats, bones, turns, bones.detach())
    torch.testing.assert_close(found, points)


def test_bones_that_learn_nothing_get_no_gradient_and_the_others_the_same():
    inputs = random_inputs(600)
    every = values_and_grads(skin, inputs)
    fixed = [t.detach() if k in (4, 5) else t for k, t in enumerate(inputs)]
    for mine, other in zip(values_and_grads(skin, fixed), every[:-2], strict=True):
        assert torch.equal(mine, other)


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    inputs, runs = random_inputs(3000), []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_grads(skin, inputs))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_number_stays_in_its_row(variant, bad):
    inputs = random_inputs(70)
    with torch.no_grad():
        inputs[0][7, 1] = bad
    means, quats = skin(*inputs)
    assert (~means.isfinite()).any(1).nonzero().tolist() == [[7]]
    assert quats.isfinite().all()


def test_no_rows_give_nothing_and_zero_gradients():
    means, quats, *grads = values_and_grads(skin, random_inputs(0))
    assert (means.shape, quats.shape) == ((0, 3), (0, 4))
    assert not any(grad.any() for grad in grads)


def test_strided_inputs_are_read_correctly():
    *points, weights, quats, bones, turns, canonical = random_inputs(40, 12)
    narrow = [*points, weights[:, ::2], quats, bones[::2], turns[::2], canonical[::2]]
    for mine, other in zip(skin(*narrow), skin(*(t.clone() for t in narrow)), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    points, shifts, weights, quats, bones, turns, canonical = random_inputs(9)
    motions = torch.cat([bones.flatten(1), turns], 1).detach().requires_grad_()
    still = torch.nn.functional.pad(canonical.flatten(1), (0, 4))
    for known in (still, None):
        arguments = (points, shifts, weights, quats, motions, known)
        torch.library.opcheck(module._skin.overload, arguments)


def test_wrong_tensors_are_refused_by_name():
    inputs = random_inputs(9)
    with pytest.raises(ValueError, match=r"turns has shape \(5, 4\), expected \(6, 4\)"):
        skin(*inputs[:5], inputs[5][:5])
    with pytest.raises(TypeError, match=r"quats is torch.float64 on cpu and points is .*float32"):
        skin(*inputs[:3], inputs[3].double(), *inputs[4:])
    with pytest.raises(TypeError, match="canonical requires a gradient"):
        skin(*inputs[:6], inputs[6].requires_grad_())
