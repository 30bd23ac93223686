"""Gaussians that follow a motion: the kernel against its twin in double, and finite differences."""

import pytest
import torch
from fused_fields import carry, reference

NAMES = ("means", "quats", "logits", "way", "turn")


def inputs(count, dtype=torch.float32):
    source = torch.Generator().manual_seed(0)
    shapes = ((count, 3), (count, 4), (count, 1), (3, 4), (4,))
    drawn = (torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes)
    return [tensor.to(dtype).requires_grad_() for tensor in drawn]


def values_and_grads(function, tensors):
    found = function(*tensors)
    source = torch.Generator().manual_seed(1)
    upstream = [torch.randn(x.shape, generator=source).to(x) for x in found]
    return [*found, *torch.autograd.grad(found, tensors, upstream)]


@pytest.mark.parametrize("count", [0, 1, 300, 2500])
def test_values_and_gradients_equal_the_twins_in_double(variant, count):
    mine = inputs(count)
    true = [tensor.detach().double().requires_grad_() for tensor in mine]
    found, truth = values_and_grads(carry, mine), values_and_grads(reference.carry, true)
    for a, b in zip(found, truth, strict=True):
        assert (a - b).norm() <= 2e-6 * b.norm()


def test_gradients_equal_finite_differences(variant):
    assert torch.autograd.gradcheck(carry, inputs(5, torch.float64))


def test_a_weight_of_one_moves_as_the_motion_does_and_one_of_nothing_not_at_all(variant):
    means, quats, _, way, turn = (tensor.detach() for tensor in inputs(2))
    logits = torch.tensor([[200.0], [-200.0]])
    moved, turned = carry(means, quats, logits, way, turn)
    torch.testing.assert_close(moved[0], means[0] + way[:, :3] @ means[0] + way[:, 3])
    assert torch.equal(moved[1], means[1])
    assert torch.equal(turned[1], quats[1])


def test_a_number_that_is_none_spoils_its_own_row_alone(variant):
    tensors = [tensor.detach() for tensor in inputs(40)]
    whole = carry(*tensors)
    tensors[0][7, 1] = torch.nan
    others = torch.arange(40) != 7
    for found, before in zip(carry(*tensors), whole, strict=True):
        assert torch.equal(found[others], before[others])


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_grads(carry, inputs(5000)))
    for other in runs[1:]:
        assert all(map(torch.equal, runs[0], other))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    *tensors, way, turn = inputs(4)
    motion = torch.cat([way.flatten(), turn]).detach().requires_grad_()
    torch.library.opcheck(torch.ops.fused_fields.carry.default, (*tensors, motion))


@pytest.mark.parametrize("at", range(5))
def test_what_does_not_fit_is_named(at):
    tensors = [tensor.detach() for tensor in inputs(2)]
    if at:
        wrong = [x[:1] if k == at else x for k, x in enumerate(tensors)]
        with pytest.raises(ValueError, match=f"{NAMES[at]} has shape"):
            carry(*wrong)
        wrong = [x.double() if k == at else x for k, x in enumerate(tensors)]
        with pytest.raises(TypeError, match=f"{NAMES[at]} is torch.float64 on cpu"):
            carry(*wrong)
    else:
        with pytest.raises(ValueError, match=r"means has shape \(2, 2\), expected \(2, 3\)"):
            carry(tensors[0][:, :2], *tensors[1:])
