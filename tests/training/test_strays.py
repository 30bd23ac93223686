"""What is said of Gaussians that left the scene or shrank to dots, against counts by hand."""

import pytest
import torch

from scene.cameras import Camera
from scene.frames import Frame
from scene.gaussian_model import Gaussians
from training.strays import strays

K = torch.tensor([[40.0, 0, 16], [0, 40.0, 16], [0, 0, 1]])
BOX = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
NARROW = 0.1 * 4 / 40  # what a tenth of a pixel is, four units away


class Posed:
    """Five Gaussians, one of which leaves the scene at the time 1."""

    def load(self, frame):
        return frame

    def pose(self, frame):
        means = torch.zeros(5, 3)
        means[1, 0] = 2.9  # within a box beside the box
        means[2, 0] = 3.1 if frame.time else 0.0
        widths = torch.full((5, 3), 0.2)
        widths[3] = 0.9 * NARROW
        widths[4] = torch.tensor([1.1, 0.1, 0.1]) * NARROW  # the longest axis counts
        quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(5, 1)
        return Gaussians(means, quats, widths, torch.full((5, 1), 0.5), colors=means)


def frames():
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[2, 3] = -4
    return [Frame(Camera.from_opencv_c2w(c2w, K, 32, 32), k, float(k)) for k in (0, 1)]


def test_shares_over_views_of_rows_beyond_the_scene_and_of_dots():
    found = strays(Posed(), frames(), BOX)
    assert (found.beyond, found.dots) == pytest.approx((0.1, 0.2))
    assert found.many
    assert str(found) == (
        "10.0% of the Gaussians are posed far beyond the scene's box, 20.0% are under a tenth of a "
        "pixel"
    )


def test_a_few_are_not_many():
    found = strays(Posed(), frames()[:1], BOX)
    assert found.beyond == 0
    assert not type(found)(0.02, 0.02).many
