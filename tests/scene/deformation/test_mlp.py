import pytest
import torch

from scene.deformation.mlp import OffsetMLP

HEADS = {"means": 3, "log_scales": 3, "quats": 4, "opacity_logits": 1, "sh": 48}


def test_untrained_deformation_is_identity():
    mlp = OffsetMLP(64, 64, 1, HEADS)
    offsets = mlp(torch.randn(10, 64))
    assert {name: value.shape[1] for name, value in offsets.items()} == HEADS
    assert not any(value.any() for value in offsets.values())


@pytest.mark.parametrize(
    ("inputs", "width", "depth", "count"),
    [(64, 64, 0, 28_795), (32, 128, 0, 94_395), (48, 128, 1, 96_443)],
)
def test_parameter_counts_are_the_published_ones(inputs, width, depth, count):
    assert sum(p.numel() for p in OffsetMLP(inputs, width, depth, HEADS).parameters()) == count


def test_each_head_is_relu_linear_relu_linear():
    torch.manual_seed(0)
    mlp = OffsetMLP(6, 8, 2, {"means": 3, "quats": 4})
    for head in mlp.out.values():
        torch.nn.init.normal_(head.weight)
    x = torch.randn(5, 6)
    h = mlp.trunk[1](torch.relu(mlp.trunk[0](x)))
    hidden = torch.nn.functional.linear(torch.relu(h), mlp.hidden.weight[8:], mlp.hidden.bias[8:])
    torch.testing.assert_close(mlp(x)["quats"], mlp.out["quats"](torch.relu(hidden)))


def test_heads_may_share_their_first_layer():
    torch.manual_seed(0)
    mlp = OffsetMLP(6, 8, 1, {"means": 3, "quats": 4}, shared=True)
    for head in mlp.out.values():
        torch.nn.init.normal_(head.weight)
    x = torch.randn(5, 6)
    hidden = torch.relu(mlp.hidden(torch.relu(mlp.trunk[0](x))))
    for name, offsets in mlp(x).items():
        torch.testing.assert_close(offsets, mlp.out[name](hidden))
