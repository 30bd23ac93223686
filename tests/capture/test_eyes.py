"""How far eyes are shut, by lids made of numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from capture.eyes import POINTS_SHUT, eyes_of
from capture.table import (
    LEFT_LID_PAIRS,
    RIGHT_LID_PAIRS,
    SLANT,
    PointTable,
    lid_opening,
    rough_yaw,
)
from tests.capture.made import made

OPEN, SHUT = 0.35, 0.15  # of the eye's width, as a net reads them


@pytest.fixture(scope="module")
def table():
    nothing = torch.zeros(468, 3)
    return PointTable(nothing.long(), nothing, nothing, torch.zeros(468, 3, 5),
                      torch.zeros(468), torch.tensor([0.4, 0.28, SHUT]))  # fmt: skip


def eyes(table, opening, turn=0.0, points_too=True):
    """Of openings (T, 2), right and left, that both nets see."""
    opening = np.asarray(opening)
    found = made(len(opening))
    lids = found.lids.copy()
    lids[:, :, 11:14, 1] = -60.0 * opening[..., None]
    points = np.repeat(found.points[:1], len(opening), 0)
    points[:, 263, 2] += np.tan(np.radians(turn)) * (points[:, 263, 0] - points[:, 33, 0])
    part = (opening - SHUT) / (OPEN - SHUT) if points_too else np.ones_like(opening)
    for eye, pairs in enumerate((RIGHT_LID_PAIRS, LEFT_LID_PAIRS)):
        for upper, lower in pairs:
            points[:, upper, :2] = points[:, lower, :2]
            points[:, upper, 1] -= 9 * (POINTS_SHUT + (1 - POINTS_SHUT) * part[:, eye])
    return eyes_of(replace(found, lids=lids, points=points), table, 25.0)


def steady(count=300):
    return np.full((count, 2), OPEN)


def test_a_blink_reads_as_one_and_open_eyes_as_none(table):
    opening = steady()
    opening[100:105] = SHUT
    blink = eyes(table, opening).blink
    assert blink[100:105].min() > 0.9
    assert blink[:99].max() < 0.15
    assert blink[106:].max() < 0.15


def test_eyes_kept_shut_read_as_shut(table):
    opening = steady()
    opening[50:150] = SHUT
    assert eyes(table, opening).blink[60:140].min() > 0.9


def test_lids_that_follow_a_glance_down_are_no_blink(table):
    opening = steady()
    opening[100:200] = OPEN - 0.25 * (OPEN - SHUT)
    assert eyes(table, opening).blink.max() < 0.15
    # The iris net alone takes a long glance down for more.
    opening[100:200] = OPEN - 0.7 * (OPEN - SHUT)
    assert eyes(table, opening, points_too=False).blink[125:175].max() < 0.15


def test_noise_of_open_eyes_is_no_blink(table):
    noise = np.random.default_rng(0).normal(0, 0.006, (300, 2))
    assert eyes(table, steady() + noise).blink.max() < 0.15


def test_one_eye_can_wink(table):
    opening = steady()
    opening[100:105, 0] = SHUT
    blink = eyes(table, opening).blink
    assert blink[102, 0] > 0.9
    assert blink[102, 1] < 0.15


def test_an_eye_that_is_turned_away_closes_as_the_other(table):
    opening = steady()
    opening[100:105, 0] = SHUT
    turned = eyes(table, opening, turn=50.0)  # to its left: the left eye is the far one
    assert turned.blink[102, 1] > 0.6
    assert turned.trust[0, 1] < 0.1


def test_the_net_s_depths_tell_a_turn():
    points = np.zeros((1, 468, 3), np.float32)
    points[0, 263] = 1.0, 0.0, 1.0
    assert rough_yaw(points)[0] == pytest.approx(45.0)


def test_the_deepest_dips_of_a_clip_say_what_shut_is(table):
    opening = steady()
    opening[100:104] = opening[200:204] = 0.62 * OPEN  # a gap that the nets read in shut eyes
    blink = eyes(table, opening).blink
    assert blink[100:104].min() > 0.9
    assert blink[110:190].max() < 0.05


def test_what_one_net_sees_of_one_eye_in_one_frame_is_no_blink(table):
    opening = steady()
    opening[50:54] = SHUT
    opening[150, 0] = 0.8 * OPEN
    assert eyes(table, opening).blink[145:155].max() < 0.2


@pytest.mark.parametrize("turn", [-30, 20, 40])
def test_an_eye_that_a_turn_narrows_is_as_open_as_before(turn):
    found = made(1)
    points, lids = found.points.copy(), found.lids.copy()
    points[:, [33, 263]] = [[[-50.0, 0, 0], [50.0, 0, 100 * np.tan(np.radians(turn))]]]
    straight = points.copy()
    straight[:, 263, 2] = 0
    narrow = np.cos(np.radians(turn + np.array([-SLANT, SLANT]))) / np.cos(np.radians(SLANT))
    turned = lids.copy()
    turned[..., 0] *= narrow[None, :, None]
    assert lid_opening(points, turned) == pytest.approx(lid_opening(straight, lids), rel=1e-4)
