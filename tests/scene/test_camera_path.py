import json
from itertools import pairwise

import pytest
import torch

from scene.camera_path import frames_of
from scene.frames import Frame
from tests.border import refused_cheaply
from tests.scene.test_performance import CAMERA, facts

LOOKS = [
    {"eye": eye, "target": [0, 0, 0], "up": [0, 0, 1], "fov": fov}
    for eye, fov in (([4, 0, 1], 0.8), ([0, 4, 1], 1.0), ([-4, 0, 1], 0.6))
]
PATH = {
    "version": 1, "size": [40, 30], "fps": 10, "seconds": 2,
    "keys": [{"look": look, "part": k / 2} for k, look in enumerate(LOOKS)],
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def call(path, known=None):
        file = tmp_path / "path.json"
        file.write_text(path if isinstance(path, str) else json.dumps(path))
        return frames_of(file, known or facts([Frame(CAMERA, 0, 0.0)]))

    return call


def test_a_path_goes_through_its_keys(read):
    frames = read(PATH)
    assert len(frames) == 21
    assert (frames[0].camera.width, frames[0].camera.height) == (40, 30)
    for k, at in enumerate((0, 10, 20)):
        camera = frames[at].camera
        torch.testing.assert_close(camera.center, torch.tensor(LOOKS[k]["eye"]).float())
        torch.testing.assert_close(camera.fov_y, LOOKS[k]["fov"], atol=1e-6, rtol=0)
        assert frames[at].time == k / 2
        seen = camera.viewmat @ torch.tensor([0.0, 0, 0, 1])
        assert seen[:2].abs().max() < 1e-5  # it looks at the target
    steps = [(a.camera.center - b.camera.center).norm() for a, b in pairwise(frames)]
    assert max(steps) < 3 * min(steps)  # no jump


def test_sliders_go_from_one_key_to_the_next_and_rest_where_nothing_is_said(read):
    from scene.facts import Statistics

    rest = torch.tensor([0.5, -1.0])
    known = facts([Frame(CAMERA, 0, 0.0, expression=torch.zeros(2))])
    known.conditions["expression"] = Statistics(rest, rest, rest, rest)
    keys = [
        {"look": LOOKS[0], "part": 0, "sliders": {"expression": {"1": 2.0}}},
        {"look": LOOKS[1], "part": 0, "sliders": {}},
    ]
    frames = read({**PATH, "keys": keys}, known)
    values = [float(frame.expression[1]) for frame in frames]
    assert (values[0], values[-1]) == (2.0, -1.0)
    assert values == sorted(values, reverse=True)
    assert not any(frame.expression[0] for frame in frames)


BAD = [
    "", "{}", "[1]", json.dumps({**PATH, "version": 2}), json.dumps({**PATH, "keys": []}),
    json.dumps({**PATH, "size": [0, 30]}), json.dumps({**PATH, "size": [10**9, 30]}),
    json.dumps({**PATH, "seconds": 1e5}), json.dumps({**PATH, "seconds": 0}),
    json.dumps({**PATH, "keys": [{"look": LOOKS[0]}]}),
    json.dumps({**PATH, "keys": [{"look": {**LOOKS[0], "eye": [0, 0, 3]}, "part": 0}]}),
    json.dumps({**PATH, "keys": [{"look": LOOKS[0], "part": 0, "sliders": {"x": {}}}]}),
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_no_path_is_refused_in_one_line(read, text):
    refused_cheaply(lambda: read(text), "path.json: ", len(text))
