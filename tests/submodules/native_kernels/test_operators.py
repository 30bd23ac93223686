"""operators.py: gradients, lists, tracing, in-place arguments, no torch._dynamo at the start."""

import subprocess
import sys

import pytest
import torch
from native_kernels.operators import Operators
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

OPERATORS = Operators("native_kernels_test")
BACKWARD = OPERATORS.define(
    "cube_backward(Tensor grad, Tensor x) -> Tensor",
    cpu=lambda grad, x: 3 * grad * x * x,
    fake=lambda grad, x: torch.empty_like(x),
)
CUBE = OPERATORS.define(
    "cube(Tensor x) -> Tensor",
    cpu=lambda x: x * x * x,
    fake=torch.empty_like,
    keep=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    differentiate=lambda ctx, grad: BACKWARD(grad, *ctx.saved_tensors),
)


def _double(x):
    x.mul_(2)


class Seen:
    """What gradients of `WEIGHED` were asked for, and how often its body ran."""

    wants, calls = None, 0


def _weighed(tensors, weights, shift):
    Seen.calls += 1
    return [
        weight * t + (0 if shift is None else shift)
        for weight, t in zip(weights, tensors, strict=True)
    ]


def _keep(ctx, inputs, output):
    tensors, ctx.weights, _ = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, grads):
    Seen.wants, _, shifted = ctx.needs_input_grad
    assert len(ctx.saved_tensors) == len(ctx.weights) == len(grads)
    found = [weight * grad for weight, grad in zip(ctx.weights, grads, strict=True)]
    to_tensors = [grad if want else None for grad, want in zip(found, Seen.wants, strict=True)]
    return to_tensors, None, sum(map(torch.sum, grads)) if shifted else None


WEIGHED = OPERATORS.define(
    "weighed(Tensor[] tensors, float[] weights, Tensor? shift) -> Tensor[]",
    cpu=_weighed,
    fake=lambda tensors, weights, shift: [torch.empty_like(t) for t in tensors],
    keep=_keep,
    differentiate=_differentiate,
)
DOUBLE = OPERATORS.define("double(Tensor(a!) x) -> ()", cpu=_double, fake=lambda x: None)
# The first use of each operator that a training step calls; then what was imported.
STEP = """
import sys, torch
from diff_gaussian_rasterization import rasterize
from fused_fields import adam_step, add_plane_penalties, offset_mlp, plane_features, ssim
def learned(*size):
    return torch.rand(size, requires_grad=True)
planes = [learned(3, 3, 4) for _ in range(6)]
points = learned(5, 3)
layer = (learned(4, 4), learned(4))
features = plane_features([planes], points, time=0.5)
(scales,) = offset_mlp(features, [layer], layer, [(learned(3, 4), learned(3))])
out = rasterize(points, learned(5, 4), scales.exp(), learned(5, 1), colors=learned(5, 3),
                viewmat=torch.eye(4), K=torch.eye(3) * 8, width=16, height=16)
ssim(out.color, torch.rand(3, 16, 16)).backward()
add_plane_penalties(planes, [plane.grad for plane in planes], [[1.0, 1.0, 1.0]] * 6)
zeros = [torch.zeros(5, 3)]
adam_step([points], [points.grad], zeros, [torch.zeros(5, 3)], lr=0.1, step=1)
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.long  # opcheck imports torch._dynamo, which takes seconds
def test_operators_keep_the_rules_of_torch_library():
    torch.library.opcheck(CUBE.overload, (torch.rand(4, dtype=torch.float64, requires_grad=True),))
    torch.library.opcheck(DOUBLE.overload, (torch.ones(3),))
    tensors = [torch.rand(2, requires_grad=True), torch.rand(3, requires_grad=True)]
    torch.library.opcheck(WEIGHED.overload, (tensors, [2.0, 3.0], None))


@pytest.mark.long  # so does the compiler
def test_a_compiler_sees_the_operator():
    a = torch.ones(4, requires_grad=True)
    compiled = torch.compile(lambda x: CUBE(x).sum(), backend="aot_eager", fullgraph=True)
    compiled(a).backward()
    assert a.grad.tolist() == [3, 3, 3, 3]


def test_gradients_equal_finite_differences():
    x = torch.rand(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(CUBE, (x,))


def test_a_backward_operator_has_no_derivative():
    x = torch.rand(4, requires_grad=True)
    (grad,) = torch.autograd.grad(CUBE(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="native_kernels_test::cube_backward has no derivative"):
        grad.sum().backward()


def test_arguments_may_change_in_place():
    x = torch.ones(3)
    DOUBLE(x)
    assert x.tolist() == [2, 2, 2]


def ways():
    """The operator as eager code calls it, and as PyTorch does."""
    return pytest.mark.parametrize("weighed", [WEIGHED, WEIGHED.overload], ids=["eager", "torch"])


@ways()
def test_lists_have_gradients_of_their_own(weighed):
    a, b, shift = (
        torch.ones(2, requires_grad=True),
        torch.ones(2),
        torch.ones((), requires_grad=True),
    )
    found = weighed([a, b, a], [2.0, 3.0, 5.0], shift)
    assert isinstance(found, list)
    (found[0].sum() + found[2].sum()).backward()
    assert Seen.wants == [True, False, True]
    assert a.grad.tolist() == [7, 7]
    assert float(shift.grad) == 4


@ways()
def test_what_may_be_missing_may_be_missing(weighed):
    a = torch.ones(2, requires_grad=True)
    (found,) = weighed([a], [2.0], None)
    found.sum().backward()
    assert a.grad.tolist() == [2, 2]


@ways()
def test_what_is_kept_and_changed_since_is_refused(weighed):
    a = torch.ones(2, requires_grad=True)
    (found,) = weighed([a], [2.0], None)
    with torch.no_grad():
        a.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.sum().backward()


def test_a_graph_keeps_what_it_needs_for_a_second_pass():
    a = torch.ones(2, requires_grad=True)
    (found,) = WEIGHED([a], [2.0], None)
    found.sum().backward(retain_graph=True)
    found.sum().backward()
    assert a.grad.tolist() == [4, 4]


def test_fake_tensors_are_given_shapes_and_no_body_runs():
    before = Seen.calls
    real = torch.ones(2)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(real)
        inside = WEIGHED([real], [1.0], None)[0]
    outside = WEIGHED([fake], [1.0], None)[0]
    assert type(inside) is type(outside) is FakeTensor
    assert Seen.calls == before


def test_the_first_call_imports_no_tracer():
    found = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr
