import math
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scene.paths import look_at
from training.samplers import Draws, Orbits, Shuffled, first_moment, seen_from, turn


def test_every_pass_shows_every_frame_once_in_a_new_order():
    frames = list(range(7))
    seen = [b[0] for b in islice(Shuffled()(frames, "fine", 0, 0), 14)]
    assert sorted(seen[:7]) == sorted(seen[7:]) == frames
    assert seen[:7] != seen[7:]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 1, 5, 11])
def test_a_resumed_sampler_yields_what_the_unbroken_one_would(batch_size, start):
    frames = list(range(7))
    unbroken = list(islice(Shuffled(batch_size)(frames, "fine", 3, 0), 20))
    resumed = list(islice(Shuffled(batch_size)(frames, "fine", 3, start), 20 - start))
    assert resumed == unbroken[start:]


def test_first_moment_leaves_later_frames_out():
    frames = [SimpleNamespace(time=t) for t in (0.5, 0.0, 0.0, 1.0)]
    seen = {id(b[0]) for b in islice(Shuffled(choose=first_moment)(frames, "fine", 0, 0), 6)}
    assert seen == {id(frames[1]), id(frames[2])}


AZIMUTHS = (30, 90, 150, 210, 270, 330)  # of the views that Zero123++ makes


def camera(azimuth, elevation=0.0, side=40):
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = [math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)]
    viewmat = look_at(2 * torch.tensor(eye), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    return Camera.from_opencv_w2c(viewmat, intrinsics(30.0, 30.0, side / 2, side / 2), side, side)


def rig(moments=5, elevation=0.0):
    """A filmed view and six generated ones of every moment."""
    frames = []
    for k in range(moments):
        frames.append(Frame(camera(0, elevation), k, k / (moments - 1)))
        frames += [Frame(camera(a, 10), k, k / (moments - 1), role="anchor") for a in AZIMUTHS]
    return frames


def drawn(draws, count, start=0, frames=None):
    return list(islice(draws(frames or rig(), "moving", 0, start), count))


def test_a_camera_s_angles_are_those_it_was_made_with():
    for azimuth, elevation in ((0, 0), (30, 30), (-120, -20), (179, 60)):
        found = seen_from(camera(azimuth, elevation))
        assert found == pytest.approx((2.0, azimuth, elevation), abs=1e-3)
    assert turn(camera(170), camera(-170)) == pytest.approx(20, abs=1e-3)


def test_a_draw_is_a_filmed_view_and_some_generated_ones_of_its_moment():
    draws = Draws(draws=2, anchors=3)
    batches = drawn(draws, 10)
    assert draws.views == 8
    for batch in batches:
        assert [f.role for f in batch] == ["reference", *["anchor"] * 3] * 2
        for half in (batch[:4], batch[4:]):
            assert len({f.time for f in half}) == 1
            assert len({id(f) for f in half}) == 4
    seen = [f.index for batch in batches[:5] for f in batch if f.role == "reference"]
    assert sorted(seen) == sorted([*range(5)] * 2)  # every moment once a pass


@pytest.mark.parametrize("start", [1, 7])
def test_a_resumed_run_imagines_the_same_views(start):
    draws = Draws(2, 1, Orbits(lambda step: 16 if step < 8 else 32))
    whole, later = drawn(draws, 12), drawn(draws, 12 - start, start)
    for one, other in zip(whole[start:], later, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a.camera.viewmat, b.camera.viewmat)
            assert (a.role, a.index, a.camera.width) == (b.role, b.index, b.camera.width)


def test_the_likeness_is_the_generated_view_of_the_sector_in_a_third_of_the_draws():
    """The published rule: |azimuth| < 30 shows the filmed view, else 0.4 of the draws the view of
    their sector of 60 degrees; 301 / 360 * 0.4 = 0.334 of all."""
    views = [b[1] for b in drawn(Draws(1, 0, Orbits(lambda step: 16)), 3000)]
    by_anchor = 0
    for view in views:
        azimuth = seen_from(view.camera)[1]
        if view.likeness.role == "anchor":
            by_anchor += 1
            sector = AZIMUTHS[int(azimuth % 360 // 60)]
            assert turn(camera(sector), view.likeness.camera) == pytest.approx(0, abs=1e-3)
            assert abs(azimuth) >= 30 - 1e-3
        assert view.likeness.index == view.index
        assert view.image_path is None
    assert by_anchor / len(views) == pytest.approx(0.334, abs=0.03)


@pytest.mark.parametrize(("elevation", "low", "high"), [(0, -30, 30), (20, -30, 50), (70, -30, 80)])
def test_imagined_views_go_all_around_and_past_the_filmed_height(elevation, low, high):
    frames = rig(elevation=elevation)
    views = [b[1] for b in drawn(Draws(1, 0, Orbits(lambda step: 16)), 600, frames=frames)]
    angles = [seen_from(view.camera) for view in views]
    assert min(e for _, _, e in angles) == pytest.approx(low, abs=1)
    assert max(e for _, _, e in angles) == pytest.approx(high, abs=1)
    assert {int((a + 180) // 30) for _, a, _ in angles} == set(range(12))
    black = sum(float(view.background.sum()) == 0 for view in views) / len(views)
    assert black == pytest.approx(0.5, abs=0.07)


def test_without_generated_views_the_filmed_one_is_shown():
    filmed = [frame for frame in rig() if frame.role == "reference"]
    views = drawn(Draws(1, 2, Orbits(lambda step: 16)), 50, frames=filmed)
    assert all(batch[1].likeness is batch[0] and len(batch) == 2 for batch in views)
