"""The live tracker on points of numbers: nets that only pretend to look at a toy head."""

import numpy as np
import pytest
import torch

from capture.find import Finder
from capture.live import LiveTracker
from capture.nets import Box
from capture.table import PointHead
from tests.capture.made import made, performed, toy_table
from utils.errors import InputError

COUNT, SIZE = 30, 320


class PretendedNets:
    """The frame's number is the picture's grey level."""

    def __init__(self, focal):
        self.truth, _, pixels = performed(COUNT, focal, SIZE)
        pixels = pixels.numpy()
        self.seen = np.concatenate((pixels[:, :468], np.zeros((COUNT, 468, 1), np.float32)), 2)
        self.irises = np.repeat(pixels[:, 468:, None], 5, 2)
        self.lids, self.blind = made(1).lids[0], False

    def faces(self, picture):
        points = self.seen[picture[0, 0, 0]]
        corners = (*points[:, :2].min(0), *points[:, :2].max(0))
        return [] if self.blind else [Box(0.9, corners, points[:6, :2])]

    def points(self, picture, crop):
        return self.seen[picture[0, 0, 0]], 0.0 if self.blind else 1.0

    def palms(self, picture):
        return []

    def eyes(self, picture, points):
        return self.lids, self.irises[picture[0, 0, 0]]


def pictures():
    return [(k / 25, np.full((SIZE, SIZE, 3), k, np.uint8)) for k in range(COUNT)]


@pytest.fixture(scope="module")
def tracked():
    nets = PretendedNets(2.2 * SIZE)
    model, table = toy_table()
    tracker = LiveTracker(nets, PointHead.of(model, table), model.expression_names, table, 2.2)
    tracker.calibrate(pictures())
    poses = [tracker.track(picture)[1] for _, picture in pictures()]
    return tracker, nets, torch.stack(poses)


@pytest.mark.parametrize(("grey", "seen"), [(20, 100), (99, 100), (120, 120)])
def test_the_palm_net_sees_a_dark_face_brightened(grey, seen):
    nets = PretendedNets(2.2 * SIZE)
    looked = []
    nets.palms = lambda picture: looked.append(int(picture.max())) or []
    nets.seen = np.repeat(nets.seen[:1], 256, 0)
    nets.irises = np.repeat(nets.irises[:1], 256, 0)
    Finder(nets).look(np.full((SIZE, SIZE, 3), grey, np.uint8))
    assert looked == [seen]


def test_turns_follow_frame_by_frame(tracked):
    _, nets, poses = tracked
    off = torch.rad2deg((poses - nets.truth)[3:, 3:6].norm(dim=1))
    assert off.mean() < 1.5


def test_the_jaw_follows(tracked):
    _, nets, poses = tracked
    together = torch.stack((poses[3:, 6], nets.truth[3:, 6]))
    assert torch.corrcoef(together)[0, 1] > 0.9


def test_without_a_face_there_is_no_moment_and_calibration_is_refused(tracked):
    tracker, nets, _ = tracked
    nets.blind = True
    assert tracker.track(pictures()[0][1]) is None
    with pytest.raises(InputError, match="a face is seen in 0 of 30 frames"):
        tracker.calibrate(pictures())
    nets.blind = False
