"""Poses refined against one still head: a drawn head whose pose was said wrong comes back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from capture import bundle
from capture.fit import FLIP, Fit
from scene.head.files import FREE_HEAD, load_head_model
from scene.head.model import pose_head
from scripts.demo.talking_head.looks import Looks
from scripts.demo.talking_head.record import OPENGL, draw
from scripts.demo.toy_head import toy_head

SIZE, FOCAL, COUNT = 128, 384.0, 16


def made(model, count):
    """A head that turns far to both sides, speaks, and stands a metre before the camera."""
    pose, shift = torch.zeros(count, 15), torch.zeros(count, 3)
    pose[:, 4] = torch.linspace(-0.5, 0.5, count)
    pose[:, 3] = 0.1 * torch.linspace(0, 6.3, count).cos()
    pose[:, 6] = 0.1 * torch.linspace(0, 30, count).sin().abs()
    shift[:] = torch.tensor([0.0, 0.0, 1.0])
    expression = torch.zeros(count, model.expression_basis.shape[-1])
    return Fit(torch.zeros(10), torch.zeros(470, 3), pose, expression, shift,
               torch.zeros(count, 470, 2), torch.ones(count),
               torch.full((count,), FOCAL))  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    if not FREE_HEAD.is_file():
        pytest.skip("the free head was not built (scripts/make_head_model.py)")
    model = load_head_model(FREE_HEAD)
    fit = made(model, COUNT)
    K = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    viewmat = OPENGL.copy()
    viewmat[2, 3] = 1.0
    looks = Looks.of(model.to("cpu", torch.float64), model.template.double().numpy())
    pictures = [
        draw(looks, pose_head(model, p).vertices.double().numpy(), viewmat, K, SIZE)
        for p in fit.pose
    ]
    return model, fit, pictures


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("STEPS", 500), ("MORE", 80), ("ROUNDS", 6), ("POINTS", 1_500)):
        monkeypatch.setattr(bundle, name, value)


def off(fit, truth):
    """Degrees that turns are off, but for a constant."""
    turn = torch.rad2deg(fit.pose[:, 3:6] - truth.pose[:, 3:6])
    return float((turn - turn.mean(0)).norm(dim=1).mean())


@pytest.mark.slow
def test_pictures_bring_turns_back(drawn, quick):
    model, truth, pictures = drawn
    source = torch.Generator().manual_seed(0)
    pose = truth.pose.clone()
    pose[:, 3:6] += 0.02 * torch.randn(COUNT, 3, generator=source)
    wrong = replace(truth, pose=pose)
    better = bundle.refine(
        wrong, model, lambda row: pictures[row].on_white, lambda row: pictures[row].alpha, SIZE
    )
    assert off(better, truth) < 0.85 * off(wrong, truth)  # in a few short rounds


@pytest.mark.slow
def test_right_turns_stay(drawn, quick):
    model, truth, pictures = drawn
    found = bundle.refine(
        truth, model, lambda row: pictures[row].on_white, lambda row: pictures[row].alpha, SIZE
    )
    assert off(found, truth) < 0.5


@pytest.mark.long
def test_an_empty_picture_moves_nothing_far(monkeypatch):
    for name, value in (("STEPS", 40), ("MORE", 10), ("ROUNDS", 2), ("POINTS", 300)):
        monkeypatch.setattr(bundle, name, value)
    model = toy_head()
    truth = made(model, 6)
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    whole = np.full((SIZE, SIZE), 255, np.uint8)
    found = bundle.refine(truth, model, lambda row: blank, lambda row: whole, SIZE)
    assert off(found, truth) < 0.5


def test_a_fit_says_where_its_head_is_and_takes_it_back():
    model = toy_head()
    fit = made(model, 4)
    source = torch.Generator().manual_seed(0)
    fit = replace(fit, expression=torch.rand(fit.expression.shape, generator=source))
    seen = bundle.viewmats(fit, model)
    posed = pose_head(model, fit.pose[1], expression=fit.expression[1])
    rigid = torch.linalg.inv(posed.transforms[1]) @ torch.cat((posed.joints[1], torch.ones(1)))
    wanted = posed.joints[1] * FLIP + fit.shift[1]
    assert torch.allclose((seen[1] @ rigid)[:3], wanted, atol=1e-5)
    elsewhere = replace(fit, pose=torch.zeros_like(fit.pose), shift=fit.shift + 1)
    back = bundle.with_viewmats(elsewhere, model, seen)
    assert torch.allclose(bundle.viewmats(back, model), seen, atol=1e-5)
    assert torch.allclose(back.pose[:, 3:6], fit.pose[:, 3:6], atol=1e-4)
    assert torch.allclose(back.shift, fit.shift, atol=1e-4)
