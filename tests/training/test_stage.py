from types import SimpleNamespace

import pytest
import torch

from training.schedules import linear
from training.stage import Loss, Stage
from training.strategies import Keep


def stage(only_drawn):
    return Stage("fine", 10, None, [], [], Keep(), only_drawn=only_drawn)


def views(*radii):
    return [SimpleNamespace(radii=torch.tensor(values)) for values in radii]


def test_the_rows_that_any_view_of_a_step_drew_are_moved_and_all_where_nothing_is_said():
    renders = views([0, 3, 0, 1], [0, 0, 0, 2])
    assert stage(True).drawn(renders).tolist() == [False, True, False, True]
    assert stage(False).drawn(renders) is None
    assert stage(True).drawn([]) is None  # a stage that draws nothing


def test_a_term_is_weighed_by_the_step_and_told_it():
    term = Loss(
        "late", linear(0.0, 1.0, 10), lambda renders, frames, step: torch.tensor(float(step))
    )
    assert [term([], [], step).item() for step in (0, 5, 20)] == pytest.approx([0.0, 2.5, 20.0])
