"""The decoder of looks: what its layers say when they run one after the other, and its start."""

import pytest
import torch
from torch import nn

from scene.deformation.appearance import AppearanceDecoder


def inputs(count=50):
    torch.manual_seed(0)
    directions = nn.functional.normalize(torch.randn(count, 3), dim=1)
    return torch.randn(count, 8).requires_grad_(), directions


def layer_by_layer(decoder, features, directions, bands):
    hidden = decoder.shared(features)
    logits, geometry = decoder.opacity(hidden), decoder.geometry(hidden)
    color = decoder.color(torch.cat([geometry, directions], dim=1))
    return {
        "opacity_logits": logits,
        "sh_dc": decoder.dc(color)[:, None],
        "sh_rest": decoder.rest(color).reshape(len(features), -1, 3)[:, : bands - 1],
    }


@pytest.mark.parametrize(("sh_degree", "bands"), [(0, 1), (2, 9), (2, 4), (2, 1)])
@pytest.mark.parametrize("linear_color", [False, True])
def test_fused_layers_give_values_and_gradients_of_the_plain_ones(sh_degree, bands, linear_color):
    features, directions = inputs()
    settings = {"from_zero": False, "linear_color": linear_color}
    decoder = AppearanceDecoder(8, 16, sh_degree, **settings)
    nn.init.normal_(decoder.rest.weight)
    leaves = [features, *decoder.parameters()]
    found = decoder(features, directions, bands)
    truth = layer_by_layer(decoder, features, directions, bands)
    for name in truth:
        torch.testing.assert_close(found[name], truth[name], rtol=1e-4, atol=1e-5)
    for mine, plain in zip(gradients(found, leaves), gradients(truth, leaves), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-4)


def gradients(outputs, leaves):
    draw = torch.Generator().manual_seed(1)
    loss = sum((torch.randn(out.shape, generator=draw) * out).sum() for out in outputs.values())
    return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("from_zero", [False, True])
def test_what_begins_at_zero_shows_nothing(from_zero):
    features, directions = inputs()
    found = AppearanceDecoder(8, 16, 3, from_zero=from_zero)(features, directions, 16)
    assert not found["sh_rest"].any()
    for name in ("opacity_logits", "sh_dc"):
        assert bool(found[name].any()) != from_zero
