"""A training step keeps to one device; once the pictures are there, it sends nothing and reads
nothing back, since either waits for a GPU. Seen without one, on tensors that have a place and a
shape but no numbers: what mixes places, or asks such a tensor for a number, raises."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv
from torch.overrides import TorchFunctionMode

from arguments import parse_train_args
from gaussian_renderer import render
from scene import load_scene
from scene.frames import FrameLoader
from tests.building import built
from training.numerics import require_finite
from training.optimizers import Optimizers

pytestmark = pytest.mark.long

ELSEWHERE = torch.device("meta")  # any place but the CPU
LOSSES = "--lambda_dssim 0.2 --lambda_l2 1 --lambda_alpha 0.1"


@pytest.fixture(scope="module", params=["plain", "everything"])
def trained(case, request, tmp_path_factory):
    """A scene and a method for it that lives elsewhere."""
    folder = case.write(tmp_path_factory.mktemp("scene") / "tiny")
    own = f"--method {case.method} {case.small} {case.everything * (request.param == 'everything')}"
    flags = ["-s", str(folder), "-m", str(folder / "out"), "--init_points", "50"]
    settings = parse_train_args([*flags, *LOSSES.split(), *own.split()])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    codes = {"expression": torch.rand(5), "flame_pose": torch.rand(15)}
    lacking = {k: v for k, v in codes.items() if getattr(scene.train[0], k) is None}
    scene = replace(scene, train=[replace(frame, **lacking) for frame in scene.train])
    method = built(scene, settings, ELSEWHERE)
    for step in (1000, 2000, 3000):
        method.on_step(step)
    return scene, method


@pytest.fixture
def no_numbers():
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        yield


class NothingSent(TorchFunctionMode):
    """Refuses to make tensors of Python's numbers, which live in the memory of the host."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor)
        return func(*args, **(kwargs or {}))


def load(scene, method):
    loader = FrameLoader(10, ELSEWHERE)
    return [loader.load(frame, method.background) for frame in scene.train[:2]]


def forward(method, stage, frames):
    frames = [method.prepare(frame) for frame in frames]
    renders = [render(f.camera, stage.pose(f), f.background) for f in frames]
    return renders, {term.name: term(renders, frames, 1) for term in stage.losses}


def drawing(method):
    """Its stages that draw: what fits silhouettes or points alone may look at them on the host."""
    return [stage for stage in method.stages() if stage.pose is not None]


@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_step_stays_on_its_device_sends_nothing_and_reads_nothing_back(
    case, trained, no_numbers, which
):
    scene, method = trained
    stage = drawing(method)[which]
    optimizers = Optimizers(stage.params)
    frames = load(scene, method)
    with NothingSent():
        renders, losses = forward(method, stage, frames)
        sum(losses.values()).backward()
        losses |= {name: pull() for name, pull in stage.pulls.items()}
        stage.strategy.observe(renders)
        optimizers.step(stage.drawn(renders))
    assert len(losses) >= 3
    moved = [value for name, value in optimizers.state().items() if not name.endswith(".step")]
    groups = [group for group in stage.params if group.name not in case.unmoved]
    assert len(moved) == 2 * sum(len(list(group.params())) for group in groups)
    assert {value.device for value in moved} == {ELSEWHERE}
    assert all(value.device == ELSEWHERE for value in stage.strategy.state().values())


def test_looking_for_nan_is_a_reading_that_this_would_notice(trained, no_numbers):
    scene, method = trained
    stage = drawing(method)[0]
    _, losses = forward(method, stage, load(scene, method))
    with pytest.raises(GuardOnDataDependentSymNode):
        require_finite(losses, "the loss")
