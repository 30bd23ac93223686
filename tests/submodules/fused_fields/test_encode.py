"""Encoded positions: the kernel against its twin in double, and finite differences."""

import pytest
import torch
from fused_fields import encode, reference

FAR = 3e3  # beyond where the kernel has sines of its own


def points(count, spread=1.5, dtype=torch.float32):
    source = torch.Generator().manual_seed(0)
    return (spread * (2 * torch.rand(count, 3, generator=source, dtype=torch.float64) - 1)).to(
        dtype
    )


@pytest.mark.parametrize("octaves", [0, 1, 10])
@pytest.mark.parametrize("spread", [1e-6, 1.5, 40.0, FAR])
def test_values_and_gradients_equal_the_twins_in_double(variant, octaves, spread):
    mine = points(300, spread).requires_grad_()
    true = mine.detach().double().requires_grad_()
    # 2^k x is exact, so both take the sine of the same number.
    found, truth = encode(mine, octaves), reference.encode(true, octaves)
    assert (found[:, :3] == mine).all()
    assert ((found - truth)[:, 3:].abs() <= 2.5e-7).all()
    upstream = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    (of_mine,) = torch.autograd.grad(found, mine, upstream)
    (of_true,) = torch.autograd.grad(truth, true, upstream.double())
    assert (of_mine - of_true).norm() <= 1e-6 * of_true.norm()


def test_gradients_equal_finite_differences(variant):
    x = points(5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: encode(x, 3), (x,))


def test_a_number_that_is_none_spoils_its_own_point_alone(variant):
    x = points(40)
    whole = encode(x, 4)
    x[7, 1], x[9, 2] = torch.nan, torch.inf
    found = encode(x, 4)
    others = torch.ones(40, dtype=torch.bool)
    others[[7, 9]] = False
    torch.testing.assert_close(found[others], whole[others], rtol=0, atol=2.5e-7)
    torch.testing.assert_close(found, reference.encode(x, 4), equal_nan=True, rtol=0, atol=2.5e-7)


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    x = points(3000)
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(encode(x, 6))
    assert all(torch.equal(runs[0], other) for other in runs[1:])


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    x = points(4).requires_grad_()
    torch.library.opcheck(torch.ops.fused_fields.encode.default, (x, 2))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"points has shape \(3,\); expected \(N, 3\)"):
        encode(torch.zeros(3), 2)
    with pytest.raises(ValueError, match="octaves is 65; expected 0 to 64"):
        encode(torch.zeros(2, 3), 65)
