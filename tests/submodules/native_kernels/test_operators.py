"""operators.py: gradients, traced shapes, in-place arguments, and no torch._dynamo at the start."""

import subprocess
import sys

import pytest
import torch
from native_kernels.operators import Operators

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
    torch.library.opcheck(CUBE, (torch.rand(4, dtype=torch.float64, requires_grad=True),))
    torch.library.opcheck(DOUBLE, (torch.ones(3),))


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


def test_the_first_call_imports_no_tracer():
    found = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr
