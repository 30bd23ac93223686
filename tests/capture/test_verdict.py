"""Every row of what is refused, left out and said, by faces made of numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from capture.fit import Fit
from capture.verdict import USABLE, after_fit, choose
from tests.capture.made import made
from utils.errors import InputError


def refused(found, words, **kwargs):
    with pytest.raises(InputError, match=words):
        choose("me.mp4", found, face_named=False, **kwargs)


def fit_of(count, yaw=20.0, error=1.0):
    pose = torch.zeros(count, 15)
    pose[:, 4] = torch.deg2rad(torch.linspace(-yaw, yaw, count))
    return Fit(torch.zeros(3), torch.zeros(470, 3), pose, torch.zeros(count, 4),
               torch.zeros(count, 3), torch.zeros(count, 470, 2), torch.full((count,), error),
               torch.ones(count))  # fmt: skip


def test_a_good_clip_is_used_whole_and_nothing_is_said():
    chosen = choose("me.mp4", made(), face_named=False)
    assert (chosen.reasons == USABLE).all()
    assert chosen.notes == ()
    assert chosen.first == 0


def test_no_face_is_refused():
    refused(replace(made(), presence=np.zeros(300)), "no face found in 300 frames")


@pytest.mark.parametrize(("degrees", "flag"), [(90, 270), (180, 180), (-90, 90)])
def test_a_video_on_its_side_is_refused_and_the_flag_puts_it_right(degrees, flag):
    found = made()
    angle, middle = np.radians(degrees), found.size / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = found.points.copy()
    points[..., :2] = (points[..., :2] - middle) @ turn + middle
    refused(replace(found, points=points), f"--rotate {flag}")


def test_a_face_that_is_better_seen_upside_down_is_refused():
    refused(replace(made(), upside=np.full(300, 0.2)), r"upside down .* --rotate 180")


def test_two_faces_are_refused_unless_one_is_named():
    found = made()
    people = np.where(found.people > 0, 2, found.people)
    refused(replace(found, people=people), r"2 faces, first in frame 0 \(0.00 s\).*--face")
    chosen = choose("me.mp4", replace(found, people=people), face_named=True)
    assert len(chosen.kept) == 300


def test_a_face_that_once_passes_by_is_no_second_person():
    found = made(800)
    people = found.people.copy()
    people[25] = 2
    assert len(choose("me.mp4", replace(found, people=people), face_named=False).kept) == 800


def test_the_longest_take_is_used_and_named():
    found = made(400)
    change = found.change.copy()
    change[120] = 100.0
    chosen = choose("me.mp4", replace(found, change=change), face_named=False)
    assert (chosen.first, len(chosen.reasons)) == (120, 280)
    assert "cut at 4.80 s" in chosen.notes[0]
    assert "frames 120 to 399" in chosen.notes[0]


def test_a_longer_take_behind_a_hand_is_not_used():
    found = made(400)
    change, palms = found.change.copy(), found.palms.copy()
    change[150] = 100.0
    palms[160::8] = 0.7
    chosen = choose("me.mp4", replace(found, change=change, palms=palms), face_named=False)
    assert (chosen.first, len(chosen.kept)) == (0, 150)
    assert "the take with the most usable frames is used, frames 0 to 149" in chosen.notes[0]


def test_a_take_without_a_face_is_not_the_longest():
    found = made(400)
    change, presence = found.change.copy(), found.presence.copy()
    change[130], presence[130:] = 100.0, 0.0
    chosen = choose("me.mp4", replace(found, change=change, presence=presence), face_named=False)
    assert (chosen.first, len(chosen.reasons)) == (0, 130)


def test_too_few_frames_are_refused_with_their_number():
    refused(made(99), "99 usable frames of 99 are too few, at least 100")


def test_a_clip_that_only_drives_may_be_short_and_lose_much():
    found = made(60)
    points = found.points.copy()
    points[:40, :, 0] -= 250
    found = replace(found, points=points)
    assert len(choose("me.mp4", found, face_named=False, least=10).kept) == 20
    refused(found, "20 usable frames of 60 .* at least 30", least=30)


def test_a_hand_is_left_out_from_the_look_before_to_the_look_after():
    found = made()
    palms = found.palms.copy()
    palms[80:161:8] = 0.7
    chosen = choose("me.mp4", replace(found, palms=palms), face_named=False)
    covered = np.flatnonzero(chosen.reasons == "a hand before the face")
    assert covered.min() == 73
    assert covered.max() == 167
    assert len(covered) == 95


def test_a_single_look_at_a_hand_is_a_false_alarm():
    found = made()
    palms = found.palms.copy()
    palms[80] = 0.9
    assert len(choose("me.mp4", replace(found, palms=palms), face_named=False).kept) == 300


def test_what_leaves_the_picture_is_left_out():
    found = made()
    points = found.points.copy()
    points[:20, :, 0] -= 250
    chosen = choose("me.mp4", replace(found, points=points), face_named=False)
    assert (chosen.reasons[:20] == "leaves the picture").all()
    assert len(chosen.kept) == 280


def test_dark_and_small_faces_are_refused_with_the_number():
    refused(replace(made(), luma=np.full(300, 20.0)), "too dark .mean grey level 20")
    refused(made(side=50.0), r"the face is [56]\d pixels wide, at least 90")


def test_dim_and_smallish_faces_get_a_word():
    found = replace(made(side=120.0), luma=np.full(300, 40.0))
    notes = " ".join(choose("me.mp4", found, face_named=False).notes)
    assert "the face is dark (mean grey level 40" in notes
    assert "pixels wide: nearer" in notes


def test_a_varying_rate_gets_a_word():
    times = np.cumsum(np.tile([0.01, 0.07], 150))
    chosen = choose("me.mp4", replace(made(), times=times), face_named=False)
    assert "frame rate varies" in chosen.notes[0]


def test_a_still_is_refused():
    found = made()
    still = replace(found, points=np.repeat(found.points[:1], 300, 0), change=np.zeros(300))
    refused(still, "nothing moves")


def test_too_many_lost_frames_are_refused_with_a_table_of_reasons():
    found = made(400)
    points, palms = found.points.copy(), found.palms.copy()
    points[:100, :, 0] -= 250
    palms[200:300:8] = 0.8
    found = replace(found, points=points, palms=palms)
    refused(found, "cannot be used; left out: 1.. a hand before the face, 100 leaves")


def test_a_bad_fit_and_a_far_turn_are_left_out():
    chosen = choose("me.mp4", made(), face_named=False)
    fit = fit_of(300)
    fit.error[5] = 9.0
    fit.pose[7, 4] = np.radians(60)
    chosen, rows = after_fit("me.mp4", chosen, fit)
    assert chosen.reasons[5] == "the fit is bad"
    assert chosen.reasons[7] == "turned away"
    assert len(rows) == 298
    assert not {5, 7} & {*rows.tolist()}


def test_what_will_not_be_learned_is_said():
    still_mouth = made()
    still_mouth.points[:, 14] = still_mouth.points[:, 13]
    chosen, _ = after_fit("me.mp4", choose("me.mp4", still_mouth, face_named=False), fit_of(300, 5))
    assert "turns by 10 degrees only" in chosen.notes[0]
    assert "mouth hardly opens" in chosen.notes[1]


def test_few_frames_get_a_word():
    chosen, _ = after_fit("me.mp4", choose("me.mp4", made(150), face_named=False), fit_of(150))
    assert "150 usable frames are few" in chosen.notes[-1]
