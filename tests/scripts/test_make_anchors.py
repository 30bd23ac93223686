"""Views of other sides by the code path of the real weights, with tiny random ones."""

import json
from argparse import Namespace

import cv2
import numpy as np
import pytest
import torch

from scripts import make_anchors
from scripts.generate.zero123plus import Zero123Plus
from tests.scene.datasets.reading import read
from tests.training.guidance.tiny_nets import (
    WIDTH,
    libraries,
    tiny_encoder,
    tiny_unet,
    tiny_vae,
)
from utils.devices import CPU
from utils.errors import InputError
from utils.images import read_image
from utils.random import generator

LENGTH, TILE, SHOWN, STEPS = 7, 16, 32, 3
WORDS = {"<|startoftext|>": 0, "<|endoftext|>": 1, "!": 2, "!</w>": 3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    diffusers, transformers = libraries()
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = tiny_unet(diffusers, in_channels=4)
        text = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(WORDS),
                hidden_size=WIDTH,
                intermediate_size=64,
                num_hidden_layers=1,
                num_attention_heads=4,
                max_position_embeddings=LENGTH,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
        parts = {
            "unet": unet,
            "vae": tiny_vae(diffusers),
            "vision_encoder": tiny_encoder(transformers),
            "text_encoder": text,
            "scheduler": diffusers.EulerAncestralDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="linear",
                prediction_type="v_prediction",
                steps_offset=1,
            ),
        }
        for name, part in parts.items():
            part.save_pretrained(folder / name)
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/vocab.json").write_text(json.dumps(WORDS))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    special |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer/tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special})
    )
    index = {"ramping_coefficients": [k / LENGTH for k in range(LENGTH)]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def plus(weights):
    return Zero123Plus(weights, CPU, steps=STEPS, tile=TILE, shown=SHOWN)


def picture(seed):
    return torch.rand(3, 40, 40, generator=generator(seed))


def test_the_first_moment_is_replayed_exactly_by_the_anchored_attention(plus):
    first = plus.views(picture(0), first=True)
    again = plus.views(picture(0), first=False)
    assert [tuple(view.shape) for view in first] == [(3, TILE, TILE)] * 6
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_another_moment_follows_the_first_one(plus):
    """Its views are between those it would have by itself and the first one's, in every layer."""
    first = torch.stack(plus.views(picture(0), first=True))
    following = torch.stack(plus.views(picture(1), first=False))
    plus.bank.fuse = 0.0
    alone = torch.stack(plus.views(picture(1), first=False))
    assert not torch.equal(following, alone)
    assert not torch.equal(following, first)
    plus.bank.first.clear()
    assert torch.equal(alone, torch.stack(plus.views(picture(1), first=True)))


def test_every_layer_of_every_step_is_kept_without_the_shown_picture_s_tokens(plus):
    plus.views(picture(0), first=True)
    layers = [name for name in plus.unet.attn_processors if ".attn1." in name]
    assert len(plus.bank.first) == STEPS * len(layers)
    own = {tokens.shape[1] for tokens in plus.bank.first.values()}
    whole = (3 * TILE // 8) * (2 * TILE // 8)
    assert own == {whole, whole // 4}  # both resolutions; the shown picture would add 16 and 4
    assert {tokens.shape[0] for tokens in plus.bank.first.values()} == {2}


def test_idle_attention_is_the_library_s_own(plus, weights):
    from diffusers import UNet2DConditionModel

    stock = UNet2DConditionModel.from_pretrained(weights / "unet", low_cpu_mem_usage=False).eval()
    sample, prompt = torch.randn(2, 4, 6, 4, generator=generator(0)), torch.zeros(2, LENGTH, WIDTH)
    with torch.no_grad():
        one, other = (net(sample, 5, prompt).sample for net in (plus.unet, stock))
    assert torch.equal(one, other)


def test_the_shown_picture_matters_and_no_picture_is_the_other_half(plus):
    source = generator(0)
    latents, prompt = plus._shown(picture(0), source)
    other, _ = plus._shown(picture(1), generator(0))
    assert torch.equal(latents[0], other[0])
    assert not torch.equal(latents[1], other[1])
    assert not torch.equal(prompt[0], prompt[1])
    assert torch.equal(prompt[0, 0], prompt[1, 0])  # the ramp begins at zero


def write_video(folder, count=3, alpha=True):
    rng = np.random.default_rng(0)
    for k in range(count):
        pixels = rng.integers(0, 256, (40, 40, 4), np.uint8)
        pixels[..., 3] = 255
        if alpha:
            pixels[:8, :, 3] = 0
        cv2.imwrite(str(folder / f"{k}.png"), pixels if alpha else pixels[..., :3])
    return folder


@pytest.fixture
def small(monkeypatch):
    load = lambda folder, device, steps: Zero123Plus(  # noqa: E731
        folder, device, steps=steps, tile=TILE, shown=SHOWN
    )
    monkeypatch.setattr(make_anchors, "load", load)


def call(data, pipeline, masks=None):
    make_anchors.make(
        Namespace(data=data, pipeline=pipeline, masks=masks, steps=STEPS, device="cpu")
    )


def test_the_script_s_views_are_read_as_anchors_and_a_lost_frame_is_made_again(
    tmp_path, weights, small, capsys
):
    folder = write_video(tmp_path)
    call(folder, weights)
    said = capsys.readouterr().out
    assert "MiB for what later frames follow" in said
    scene = read("auto", folder)
    assert [frame.role for frame in scene.train].count("anchor") == 3 * 6
    before = {p: p.read_bytes() for p in folder.glob("zero123/*/*.png")}
    assert len(before) == 18
    for file in (folder / "zero123/1").iterdir():
        file.unlink()
    (folder / "zero123/1").rmdir()
    call(folder, weights)
    assert {p: p.read_bytes() for p in folder.glob("zero123/*/*.png")} == before
    call(folder, weights)
    assert "all 3 frames are done" in capsys.readouterr().out


def test_masks_take_the_place_of_alpha(tmp_path):
    write_video(tmp_path, count=1, alpha=False)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30] = 255
    cv2.imwrite(str(tmp_path / "masks/0.png"), mask)
    shown = make_anchors.subject(tmp_path / "0.png", tmp_path / "masks")
    assert (shown[:, :10] == make_anchors.GREY).all()
    truth = read_image(tmp_path / "0.png")[10:30]
    np.testing.assert_allclose(255 * shown[:, 10:30].permute(1, 2, 0), truth, atol=1e-3)


def test_what_is_missing_is_one_clear_line(tmp_path, small, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rembg", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected the frames of a video"):
        call(tmp_path / "empty", tmp_path)
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError, match="give pictures with alpha, or --masks FOLDER"):
        call(write_video(tmp_path / "plain", alpha=False), tmp_path)
    (tmp_path / "wide").mkdir()
    cv2.imwrite(str(tmp_path / "wide/0.png"), np.zeros((8, 9, 4), np.uint8))
    with pytest.raises(InputError, match="9x8 pixels; the generator wants squares"):
        call(tmp_path / "wide", tmp_path)
    (tmp_path / "good").mkdir()
    with pytest.raises(InputError, match="no such folder; --pipeline names Zero123"):
        call(write_video(tmp_path / "good"), tmp_path / "nowhere")


def test_grey_inside_the_subject_is_not_background():
    view = np.full((40, 40, 3), 127, np.uint8)
    view[8:32, 8:32] = (200, 30, 40)
    view[18:22, 18:22] = 127
    alpha = make_anchors.cut_out(view)[..., 3]
    assert (alpha[8:32, 8:32] == 255).all()
    assert alpha[0, 0] == alpha[7, 20] == 0


def test_real_views_on_grey_are_cut_out_as_they_were(data_folder):
    """Against the masks that come with them, made by another program."""
    overlaps = []
    for file in sorted((data_folder / "rgba_video/minions/zero123").glob("*/*.png"))[::17]:
        pixels = read_image(file)
        true, found = pixels[..., 3] > 1, make_anchors.cut_out(pixels[..., :3])[..., 3] > 0
        overlaps.append((true & found).sum() / (true | found).sum())
    assert len(overlaps) > 10
    assert np.mean(overlaps) > 0.95
