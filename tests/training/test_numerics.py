import math

import pytest
import torch
from torch import nn

from training.numerics import first_bad, from_model_to_picture, gradients, require_finite
from utils.errors import InputError


def test_the_first_bad_tensor_is_named_with_its_count():
    bad = torch.tensor([1.0, math.nan, math.inf])
    assert first_bad({"a": torch.ones(2), "b": bad, "c": bad}) == "b (2 of 3 numbers)"


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [-math.inf], [math.inf, -math.inf]])
def test_no_kind_of_bad_number_hides(values):
    assert first_bad({"a": torch.tensor([1.0, *values])}) is not None


def test_large_numbers_whose_sum_overflows_are_good():
    assert first_bad({"a": torch.full((4,), 3e38)}) is None


def test_integers_and_missing_gradients_are_passed_over():
    assert first_bad({"a": torch.tensor([1]), "b": None, "empty": torch.zeros(0, 3)}) is None


def test_gradients_are_named_after_their_parameters():
    layer = nn.Linear(1, 1)
    (layer(torch.ones(1, 1)) * math.inf).sum().backward()
    assert first_bad(gradients(layer)).startswith("weight.grad")


def test_the_message_names_the_cause_rather_than_what_came_of_it():
    bad = torch.tensor(math.nan)
    with pytest.raises(
        InputError, match=r"the loss is not finite: the first bad tensor is grid \(1 of 1"
    ):
        require_finite({"l1": bad}, "the loss", lambda: {"means": torch.ones(1), "grid": bad})
    with pytest.raises(InputError, match="the first bad tensor is l1"):
        require_finite({"l1": bad}, "the loss", lambda: {"means": torch.ones(1)})


def test_finite_tensors_ask_for_no_causes():
    require_finite({"l1": torch.tensor(1.0)}, "the loss", lambda: pytest.fail("asked"))


def test_causes_come_in_the_order_of_the_computation():
    from dataclasses import replace

    from gaussian_renderer import render
    from scene.cameras import Camera, intrinsics
    from scene.frames import Frame
    from scene.gaussian_model import Gaussians

    camera = Camera(torch.eye(4), intrinsics(10.0, 10.0, 4.0, 4.0), 8, 8)
    frame = Frame(camera, 0, 0.0, image=torch.ones(3, 8, 8), background=torch.ones(3))
    points = torch.tensor([[0.0, 0.0, 2.0]])
    drawn = Gaussians(
        points, torch.tensor([[1.0, 0, 0, 0]]), points.abs(), points[:, :1] + 0.5, colors=points
    )
    view = replace(render(camera, drawn, frame.background), gaussians=drawn)
    names = list(from_model_to_picture(nn.Linear(1, 1), [frame], [view]))
    order = [
        "weight",
        "frames[0].image",
        "gaussians[0].means",
        "gaussians[0].colors",
        "renders[0].image",
    ]
    assert [name for name in names if name in order] == order
