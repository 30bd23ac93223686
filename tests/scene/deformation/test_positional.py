import pytest
import torch
from fused_fields import encode
from torch import nn
from torch.nn import functional as F

from scene.deformation.appearance import AppearanceDecoder
from scene.deformation.positional import PositionalMLP

HEADS = {"means": 3, "quats": 4, "log_scales": 3}


def mlp(code_width=46, width=256, depth=8):
    torch.manual_seed(0)
    return PositionalMLP(octaves=10, code_width=code_width, width=width, depth=depth, heads=HEADS)


def size(module):
    return sum(p.numel() for p in module.parameters())


def test_encoding_is_the_points_then_sine_and_cosine_of_each_octave():
    found = encode(torch.tensor([[0.1, -0.2, 0.3]]), 2)
    expected = [0.1, -0.2, 0.3]
    for factor in (1, 2):
        expected += [torch.tensor(factor * x).sin().item() for x in (0.1, -0.2, 0.3)]
        expected += [torch.tensor(factor * x).cos().item() for x in (0.1, -0.2, 0.3)]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert encode(torch.zeros(2, 3), 10).shape == (2, 63)


@pytest.mark.parametrize(("code_width", "published"), [(46, 519_178), (79, 536_074)])
def test_the_published_numbers_of_parameters(code_width, published):
    assert size(mlp(code_width)) == published


def test_the_published_numbers_of_parameters_of_the_decoders():
    decoder = AppearanceDecoder(32, 64, 3)
    first = torch.nn.ModuleList([decoder.shared, decoder.opacity, decoder.geometry])
    parts = (first, decoder.color, decoder.dc, decoder.rest)
    assert [size(part) for part in parts] == [8_256, 5_312, 147, 2_205]


def test_an_untrained_deformation_is_the_identity():
    offsets = mlp()(torch.rand(5, 3), torch.rand(46))
    assert {name: tuple(value.shape) for name, value in offsets.items()} == {
        "means": (5, 3), "quats": (5, 4), "log_scales": (5, 3)
    }  # fmt: skip
    assert not any(value.any() for value in offsets.values())


@pytest.mark.parametrize("depth", [5, 8])
def test_layers_are_those_of_a_perceptron_that_reads_its_input_twice(depth):
    module = mlp(code_width=6, width=32, depth=depth)
    nn.init.normal_(module.out.weight)
    points, code = torch.rand(20, 3), torch.randn(6)
    x = torch.cat([encode(points, 10), code.expand(20, -1)], dim=1)
    h, weights = x, [layer.weight for layer in module.layers]
    weights[0] = torch.cat([weights[0], module.codes[0].weight], dim=1)
    at = module.skip
    weights[at] = torch.cat(
        [weights[at][:, :63], module.codes[1].weight, weights[at][:, 63:]], dim=1
    )
    for k, (weight, layer) in enumerate(zip(weights, module.layers, strict=True)):
        h = F.relu(F.linear(torch.cat([x, h], dim=1) if k == at else h, weight, layer.bias))
    expected = module.out(h)
    found = torch.cat(list(module(points, code).values()), dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_code_and_every_layer_but_not_the_points():
    module = mlp(code_width=6, width=32)
    nn.init.normal_(module.out.weight)
    points, code = torch.rand(20, 3, requires_grad=True), torch.randn(6, requires_grad=True)
    sum(v.square().sum() for v in module(points, code).values()).backward()
    assert points.grad is None
    assert code.grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in module.parameters())


def test_colour_is_linear_only_in_the_parity_setting():
    for linear in (False, True):
        torch.manual_seed(0)
        decoder = AppearanceDecoder(8, 16, 1, from_zero=False, linear_color=linear)
        weights = decoder.color[2].weight @ decoder.color[0].weight
        features, directions = torch.rand(5, 8), F.normalize(torch.randn(5, 3), dim=1)
        geometry = decoder.geometry(decoder.shared(features))
        one_map = decoder.dc(torch.cat([geometry, directions], dim=1) @ weights.T)
        found = decoder(features, directions, 4)["sh_dc"][:, 0]
        assert torch.allclose(found, one_map, atol=1e-5) == linear
