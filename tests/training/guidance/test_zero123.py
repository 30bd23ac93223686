"""Score distillation on the code path of the real weights, with tiny random ones."""

import math
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scene.paths import look_at
from tests.training.guidance.tiny_zero123 import write_tiny_zero123
from training.guidance import open_guidance
from training.samplers import Imagined
from utils.devices import CPU
from utils.errors import InputError
from utils.random import generator

SCALE = 5.0
FIXED = (0.6, 0.6)  # a window of one time step


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tiny_zero123(tmp_path_factory.mktemp("weights") / "zero123")


@pytest.fixture(scope="module")
def prior(weights):
    return open_guidance("zero123", str(weights), CPU, SCALE)


def camera(azimuth, elevation, side=48, radius=2.0):
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = [math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)]
    up = torch.tensor([0.0, 1.0, 0.0])
    viewmat = look_at(radius * torch.tensor(eye), torch.zeros(3), up)
    K = intrinsics(50.0, 50.0, side / 2, side / 2)
    return Camera.from_opencv_w2c(viewmat, K, side, side)


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """A view from the side of what a picture shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 4), np.uint8)
    file = tmp_path_factory.mktemp("picture") / "0_rgba.png"
    cv2.imwrite(str(file), pixels)
    shown = Frame(camera(0, 0), 0, 0.0, file)
    return Imagined(camera(75, 20), 0, 0.0, role="orbit", likeness=shown)


@pytest.fixture
def picture():
    return torch.rand(3, 40, 40, generator=generator(1)).requires_grad_(True)


def test_the_gradient_at_the_latent_is_that_of_the_formula(prior, view, picture, monkeypatch):
    """(1 - a) (e - n), written here once more, with the library's own noising."""
    import diffusers

    latents = []
    encoded = prior.encoded

    def remembered(image, noise):
        latents.append(encoded(image, noise))
        return latents[-1]

    shown = prior.condition(view.likeness)
    monkeypatch.setattr(prior, "encoded", remembered)
    loss = prior(picture, view, FIXED, generator(7))
    (latent,) = latents
    (found,) = torch.autograd.grad(loss, latent)

    source = generator(7)
    draw = lambda: torch.randn(1, 4, 8, 8, generator=source)  # noqa: E731
    draw()  # of the VAE
    torch.randint(1, (1,), generator=source)
    noise, t = draw(), torch.tensor([600])
    schedule = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    factor = prior.vae.config.scaling_factor
    noised = schedule.add_noise(factor * latent.detach(), noise, t)
    around = [-math.radians(20), math.sin(math.radians(75)), math.cos(math.radians(75)), 0.0]
    told = torch.cat([shown.embedding, torch.tensor([around])], 1)
    token = (told @ prior.weight.T + prior.bias)[:, None]
    with torch.no_grad():
        ask = lambda z, v, e: prior.unet(torch.cat([z, v], 1), t, e).sample  # noqa: E731
        without = ask(noised, torch.zeros_like(shown.latent), torch.zeros_like(token))
        seen = without + SCALE * (ask(noised, shown.latent, token) - without)
    formula = (1 - schedule.alphas_cumprod[600]) * (seen - noise)
    assert float(loss.detach()) == pytest.approx(0.5 * float(formula.square().sum()), rel=1e-4)
    torch.testing.assert_close(found / factor, formula, rtol=1e-4, atol=1e-5)


def test_the_picture_is_pulled_and_no_weight_is(prior, view, picture):
    prior(picture, view, (0.02, 0.5), generator(0)).backward()
    assert picture.grad.isfinite().all()
    assert picture.grad.abs().sum() > 0
    weights = [*prior.unet.parameters(), *prior.vae.parameters(), *prior.encoder.parameters()]
    assert not any(weight.requires_grad or weight.grad is not None for weight in weights)


def test_the_generator_decides_all_that_is_random(prior, view, picture):
    one, same, other = (
        float(prior(picture, view, (0.02, 0.5), generator(seed)).detach()) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_time_steps_stay_in_the_window(prior, view, picture, monkeypatch):
    steps = []
    predicted = prior.predicted
    monkeypatch.setattr(
        prior, "predicted", lambda z, v, e, t: steps.append(t) or predicted(z, v, e, t)
    )
    for seed in range(40):
        prior(picture, view, (0.5, 0.51), generator(seed))
    assert set(steps) <= set(range(500, 511))
    assert len(set(steps)) > 5


def test_what_is_shown_is_computed_once_and_the_same_in_every_run(prior, weights, view):
    again = open_guidance("zero123", str(weights), CPU, SCALE)
    one, other = prior.condition(view.likeness), again.condition(view.likeness)
    assert prior.condition(view.likeness) is one
    assert torch.equal(one.latent, other.latent)
    assert torch.equal(one.embedding, other.embedding)


def test_the_view_s_place_counts_from_what_is_shown(prior, view, picture):
    """Turned together, both cameras are the same pair to the prior; one alone is another."""
    turned = replace(
        view, camera=camera(75 + 60, 20), likeness=replace(view.likeness, camera=camera(60, 0))
    )
    alone = replace(view, camera=camera(75 + 60, 20))
    values = [float(prior(picture, v, FIXED, generator(0)).detach()) for v in (view, turned, alone)]
    assert values[1] == pytest.approx(values[0], rel=1e-6)
    assert values[2] != pytest.approx(values[0], rel=1e-5)


def test_the_other_published_name_of_the_camera_s_projection_is_read(tmp_path, prior):
    folder = write_tiny_zero123(tmp_path / "other", "projection", "cc_projection")
    other = open_guidance("zero123", str(folder), CPU, SCALE)
    assert torch.equal(other.weight, prior.weight)


def remove(name):
    return lambda folder: shutil.rmtree(folder / name)


BROKEN = {
    "a part missing": (remove("vae"), "vae: no such folder; expected a part of Zero123-XL"),
    "no projection": (remove("clip_camera_projection"), "clip_camera_projection: no .safetensors"),
    "a part cut": (
        lambda folder: cut(next((folder / "unet").glob("*.safetensors"))),
        "unet: cannot be read as UNet2DConditionModel",
    ),
    "a pickle": (
        lambda folder: next((folder / "unet").glob("*.safetensors")).rename(
            folder / "unet/diffusion_pytorch_model.bin"
        ),
        "unet: cannot be read as UNet2DConditionModel",
    ),
}


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize("name", BROKEN)
def test_weights_that_are_not_whole_are_one_clear_line(name, weights, tmp_path):
    folder = shutil.copytree(weights, tmp_path / "broken")
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message) as caught:
        open_guidance("zero123", str(folder), CPU, SCALE)
    assert "\n" not in str(caught.value)


def test_without_weights_it_says_which_and_what_else_there_is():
    for folder in ("", "nowhere"):
        with pytest.raises(InputError, match=r"zero123-xl.*or --guidance none"):
            open_guidance("zero123", folder, CPU, SCALE)


def test_an_unknown_guidance_names_those_there_are():
    with pytest.raises(InputError, match="'zero124', expected one of none, zero123"):
        open_guidance("zero124", "", CPU, SCALE)


def test_none_guides_nothing():
    assert open_guidance("none", "", CPU, SCALE) is None
