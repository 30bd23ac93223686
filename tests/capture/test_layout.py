"""A fitted clip through the layout and IMavatar's own reader: the same pixels, by geometry."""

import numpy as np
import pytest
import torch

from capture.fit import FLIP, Fit
from capture.layout import BLOCK, NEIGHBOURS, blocks, tail, write_video
from scene.head.files import save_head_model
from scene.head.landmarks import landmarks
from scene.head.model import pose_head
from scripts.demo.toy_head import toy_head
from tests.scene.datasets.reading import pixel, read
from utils.images import write_image

SIZE = 64


@pytest.fixture(scope="module")
def model():
    return toy_head()


@pytest.fixture(scope="module")
def fit(model):
    source = torch.Generator().manual_seed(0)
    pose = 0.2 * torch.randn(4, 15, generator=source)
    pose[:, :3] = 0
    expression = torch.rand(4, model.expression_basis.shape[-1], generator=source)
    shift = torch.tensor([0.01, -0.02, 0.8]) + 0.01 * torch.randn(4, 3, generator=source)
    shape = torch.randn(60, generator=source)
    return Fit(shape, torch.zeros(470, 3), pose, expression, shift, torch.zeros(4, 470, 2),
               torch.ones(4), torch.full((4,), 150.0))  # fmt: skip


@pytest.fixture(scope="module")
def scene(fit, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "me"
    for name, rows in (("train", [0, 2, 3]), ("test", [1])):
        video = folder / "me" / name
        for row in rows:
            for part in ("image", "mask"):
                picture = np.full((SIZE, SIZE, 3), 200, np.uint8)
                write_image(video / part / f"{row + 1}.png", picture)
        write_video(video, fit, rows, [str(row + 1) for row in rows], model, SIZE)
    save_head_model(model, folder / "head_model.npz")
    return read("imavatar", folder, init_points=20)


def test_the_reader_finds_both_videos_and_the_head_model(scene):
    assert len(scene.train) == 3
    assert len(scene.test) == 1
    assert scene.subject.model is not None
    assert not scene.subject.misfit


def test_landmarks_lie_on_the_pixels_that_the_fit_says(scene, fit, model):
    person = model.personal(fit.shape)
    for row, frame in zip((0, 2, 3, 1), [*scene.train, *scene.test], strict=True):
        posed = pose_head(person, fit.pose[row], expression=fit.expression[row])
        local = landmarks(person, posed.vertices)[30] * FLIP + fit.shift[row]
        wanted = fit.focal[row] * local[:2] / local[2] + SIZE / 2
        seen = pixel(frame.camera, (4 * landmarks(person, posed.vertices)[30]).tolist())
        assert seen[:2] == pytest.approx(wanted.tolist(), abs=1e-2)


def test_codes_pass_unchanged(scene, fit):
    assert torch.allclose(scene.test[0].expression, fit.expression[1])
    assert torch.allclose(scene.test[0].flame_pose, fit.pose[1])


@pytest.mark.parametrize(("count", "fps"), [(400, 25), (1000, 30), (120, 25)])
def test_blocks_are_spread_and_their_neighbours_are_in_neither(count, fps):
    split = blocks(count, 0.2, fps)
    length, gap = round(BLOCK * fps), round(NEIGHBOURS * fps)
    assert 0.15 * count < len(split.test) < 0.25 * count
    assert not {*split.train} & {*split.test}
    nearest = np.abs(split.train[:, None] - split.test[None]).min(0)
    assert nearest.min() == gap + 1
    starts = split.test[np.flatnonzero(np.diff(split.test, prepend=-9) > 1)]
    assert len(starts) == max(1, round(0.2 * count / length))
    thirds = np.histogram(split.test, 3, (0, count))[0] if len(starts) > 2 else [1]
    assert min(thirds) > 0


def test_the_tail_is_the_end():
    split = tail(100, 0.2)
    assert split.test.tolist() == list(range(80, 100))
    assert len(split.train) == 80
