"""Poses refined by pictures: a drawn head whose pose was said wrong comes back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from capture.fit import FLIP, Fit
from capture.photometric import refine
from scene.head.files import FREE_HEAD, load_head_model
from scene.head.model import pose_head
from scripts.demo.talking_head.looks import Looks
from scripts.demo.talking_head.record import OPENGL, draw

SIZE, FOCAL, COUNT = 192, 576.0, 8


@pytest.fixture(scope="module")
def drawn():
    """A head that turns, drawn, and the truth as a fit."""
    if not FREE_HEAD.is_file():
        pytest.skip("the free head was not built (scripts/make_head_model.py)")
    model = load_head_model(FREE_HEAD)
    pose, shift = torch.zeros(COUNT, 15), torch.zeros(COUNT, 3)
    pose[:, 4] = torch.linspace(-0.25, 0.25, COUNT)
    pose[:, 3] = 0.08 * torch.linspace(0, 6.3, COUNT).cos()
    shift[:] = torch.tensor([0.0, 0.0, 1.0])
    expression = torch.zeros(COUNT, len(model.expression_names))
    fit = Fit(torch.zeros(60), torch.zeros(470, 3), pose, expression, shift,
              torch.zeros(COUNT, 470, 2), torch.ones(COUNT),
              torch.full((COUNT,), FOCAL))  # fmt: skip
    K = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    viewmat = OPENGL.copy()
    viewmat[2, 3] = 1.0
    looks = Looks.of(model.to("cpu", torch.float64), model.template.double().numpy())
    pictures = [
        draw(looks, pose_head(model, p).vertices.double().numpy(), viewmat, K, SIZE).on_white
        for p in pose
    ]
    return model, fit, pictures


def wrong(fit):
    """By two degrees and two pixels, another way in every frame."""
    source = torch.Generator().manual_seed(0)
    pose, shift = fit.pose.clone(), fit.shift.clone()
    pose[:, 3:6] += 0.02 * torch.randn(COUNT, 3, generator=source)
    shift[:, :2] += 0.003 * torch.randn(COUNT, 2, generator=source)
    return replace(fit, pose=pose, shift=shift)


def spread(fit, truth, model):
    """Degrees that turns are off, but for a constant; pixels that the nose is off."""
    turn = torch.rad2deg(fit.pose[:, 3:6] - truth.pose[:, 3:6])
    nose = []
    for f in (fit, truth):
        posed = pose_head(model, f.pose).vertices[:, model.template[:, 2].argmax()]
        local = posed * FLIP + f.shift
        nose.append(FOCAL * local[:, :2] / local[:, 2:])
    off = nose[0] - nose[1]
    return (turn - turn.mean(0)).norm(dim=1).mean(), (off - off.mean(0)).norm(dim=1).mean()


def test_pictures_bring_poses_back(drawn):
    model, truth, pictures = drawn
    start = wrong(truth)
    refined = refine(start, model, lambda row: pictures[row], SIZE)
    before, after = spread(start, truth, model), spread(refined, truth, model)
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.5 * before[1]


def test_right_poses_stay(drawn):
    model, truth, pictures = drawn
    refined = refine(truth, model, lambda row: pictures[row], SIZE)
    turn, nose = spread(refined, truth, model)
    assert turn < 0.4
    assert nose < 0.3


def test_an_empty_picture_moves_nothing_far(drawn):
    model, truth, _ = drawn
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    refined = refine(truth, model, lambda row: blank, SIZE)
    assert torch.allclose(refined.pose, truth.pose, atol=1e-4)
