"""The whole tracker against the truth of a drawn performer: nobody's face. Needs the nets."""

import numpy as np
import pytest
import torch

from capture import bundle
from capture.eyes import eyes_of
from capture.find import Finder, find
from capture.fit import STEPS_AGAIN, fit
from capture.nets import FOLDER, FaceNets, missing
from capture.table import PointHead
from scene.head.files import FREE_HEAD, load_head_model
from scripts.demo.talking_head.looks import Looks
from scripts.demo.talking_head.record import draw, make_record
from scripts.tie_landmarks import tied
from utils.rotations import axis_angle_to_matrices

pytestmark = pytest.mark.slow  # 80 drawn heads for the table, if it is not there, and 40 here
SIZE, EVERY, COUNT, SEED = 320, 4, 40, 7


@pytest.fixture(scope="module")
def tracked():
    """A performer of another identity, drawn, and what the tracker makes of it."""
    pytest.importorskip("ai_edge_litert", reason="requirements-face.txt is not installed")
    if missing(FOLDER) or not FREE_HEAD.is_file():
        pytest.skip("the nets or the free head are not there (scripts/get_face_nets.py)")
    model, nets = load_head_model(FREE_HEAD), FaceNets()
    record = make_record(model, EVERY * COUNT, 2, SIZE, SEED)
    looks, rows = Looks.of(record.model, record.rest), range(0, EVERY * COUNT, EVERY)
    drawn = [draw(looks, record.vertices[k], record.viewmat, record.K, SIZE) for k in rows]
    pictures = [picture.on_white for picture in drawn]
    table = tied(model, nets)
    found = find(((k / 25, p) for k, p in zip(rows, pictures, strict=True)), Finder(nets))
    what = PointHead.of(model, table), model.expression_names, found, eyes_of(found, table, 6.25)
    focal = np.full(COUNT, 3.0 * SIZE)
    fitted = fit(*what, focal=focal, groups=np.array(rows))
    refined = bundle.refine(
        fitted, model, lambda row: pictures[row], lambda row: drawn[row].alpha, SIZE
    )
    return (
        record,
        list(rows),
        fit(*what, focal=focal, groups=np.array(rows), held=refined, steps=STEPS_AGAIN),
        fitted,
    )


def test_head_turns_follow_the_truth(tracked):
    record, rows, fitted, _ = tracked
    truth = torch.from_numpy(record.head_to_world[rows][:, :3, :3]).float()
    off = axis_angle_to_matrices(fitted.pose[:, 3:6]) @ truth.mT
    angles = torch.stack((off[:, 2, 1] - off[:, 1, 2], off[:, 0, 2] - off[:, 2, 0],
                          off[:, 1, 0] - off[:, 0, 1]), 1) / 2  # fmt: skip
    # A constant is a matter of what counts as straight ahead.
    assert torch.rad2deg((angles - angles.mean(0)).norm(dim=1)).mean() < 2.0


def test_the_jaw_follows_the_truth(tracked):
    record, rows, fitted, _ = tracked
    jaw = fitted.pose[:, 6].numpy(), record.flame_pose[rows, 6]
    assert np.corrcoef(*jaw)[0, 1] > 0.9
    assert np.sqrt(np.mean((jaw[0] - jaw[1]) ** 2)) < 0.05


def test_points_lie_on_those_that_were_seen(tracked):
    assert tracked[3].error.mean() < 1.8  # of the fit by points alone
    assert tracked[2].error.mean() < 1.8  # with poses that the pictures say: 1.53
