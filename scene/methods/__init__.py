"""Methods: each file here holds one `Method`, a table of Gaussians and the networks that pose
it."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scene import Scene, load_scene
from scene.deformation.body import COLUMN, BodyPart
from scene.facts import SceneFacts
from scene.flow import with_flow
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from training.optimizers import ParamGroup
from training.schedules import constant
from training.stage import Stage
from utils.errors import InputError
from utils.tensors import read_tensors

if TYPE_CHECKING:
    from arguments.settings import Settings
    from scene.frame_codes import FrameCodes

SH_RAMP = 1000  # steps between one SH degree and the next (3DGS)
FLOAT = 4  # bytes
# What a method may need of a scene, in words.
NEEDS = {
    "time": "a time for every frame",
    "expression": "expression coefficients for every frame",
    "flame_pose": "a FLAME pose for every frame",
    "mask": "a mask of the subject for every frame",
    "flow": "the optical flow of every frame",
    "anchors": "pictures of other sides of the subject (scripts/make_anchors.py makes them: "
    "zero123/<frame>/0.png to 5.png) or a prior that knows them (--guidance zero123 "
    "--guidance_path FOLDER)",
    "subject.model": "a head model: name its file with --head_model",
}
OUTDATED = {"condition.low", "condition.high", "code.low", "code.high"}  # tensors of older versions


class MethodBase(nn.Module):
    """What train.py, render.py and exporters may ask of a method.

    A method is built from facts and settings alone, with starting points where it will be trained;
    without these its table has no rows until `load` brings them.
    """

    table: GaussianTable
    activations_per_row = 0  # floats that a training step keeps per Gaussian beside its columns
    half: tuple[str, ...] = ()  # tensors that a model alone has in float16; checkpoints do not
    sees_camera = False  # whether a pose depends on where the frame's camera stands

    def __init__(self, facts: SceneFacts, settings: Settings) -> None:
        super().__init__()
        self.facts, self.hidden, self.optim = facts, settings.hidden, settings.optim
        self.seed, self.sh_degree = settings.run.seed, settings.model.sh_degree
        self.background = torch.full((3,), float(settings.model.white_background))
        self.antialiased = settings.pipeline.antialiased
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("active_sh_degree", torch.zeros((), dtype=torch.int64))
        self.body: BodyPart | None = None
        # The same as numbers: to read a buffer would make a GPU wait.
        self.at_step, self.drawn_sh_degree = 0, 0

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        """What training needs of the scene: names in `NEEDS`."""
        return ()

    def prepare(self, frame: Frame) -> Frame:
        """The frame as this method wants it seen; the identity unless it refines cameras or
        codes."""
        return frame

    def forward(self, frame: Frame) -> Gaussians:
        """The table posed for the frame."""
        raise NotImplementedError

    def add_body(self) -> None:
        """Let the rows of the table, in the head's frame, share a body's motion, where the frames
        say where a body at rest stands and the setting `body_part` wants it."""
        motion = self.facts.head_motion
        if motion is None or not self.hidden.body_part:
            return
        self.body = BodyPart(motion.mean, motion.spread, self.facts.regions["mouth"])
        start = self.body.start(self.table.columns["means"].detach())
        self.table.columns[COLUMN] = nn.Parameter(start)

    def on_body(self, columns: dict[str, Tensor], frame: Frame) -> dict[str, Tensor]:
        """The posed columns with the body where the frame has it; at rest where it does not say."""
        if self.body is None or frame.body_to_world is None:
            return columns
        return self.body(columns, frame.body_to_world)

    def body_groups(self) -> list[ParamGroup]:
        """What the body learns beside its column of the table."""
        if self.body is None:
            return []
        return [ParamGroup("body", self.body.parameters, constant(self.optim.body_lr))]

    def carriers(self, frame: Frame) -> tuple[Tensor, list[float]] | None:
        """What the Gaussians ride on at the frame's moment, where a method has such: points (P, 3),
        world units, and the numbers that say where these are."""
        return None

    def settle(self) -> None:
        """The model is trained and will only be drawn: compute what no frame changes."""

    def exported(self) -> Gaussians:
        """The canonical Gaussians with all bands of their SH, for viewers."""
        return activate(self.table.columns, self.sh_degree)

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def on_step(self, step: int) -> None:
        """Called before step `step` (from 1) of every stage; every `SH_RAMP` steps one more degree
        of SH is drawn."""
        self.at_step = step
        self.step.fill_(step)
        if step % SH_RAMP == 0:
            self.draw_sh_degree(min(self.drawn_sh_degree + 1, self.sh_degree))

    def draw_sh_degree(self, degree: int) -> None:
        """Draw spherical harmonics up to this degree from now on."""
        self.drawn_sh_degree = degree
        self.active_sh_degree.fill_(degree)

    @property
    def codes(self) -> FrameCodes | None:
        """What is learned per moment, if anything is."""
        return None

    @property
    def max_rows(self) -> int:
        """The most Gaussians that training may make."""
        return max(self.optim.max_gaussians, len(self.table))

    @property
    def working_bytes_per_row(self) -> int:
        """Memory of a step beside parameters and optimizer: the row posed, activated, drawn, and
        the gradients of these; what networks keep of it."""
        columns = sum(c.shape[1:].numel() for c in self.table.columns.values())
        return FLOAT * (4 * columns + self.activations_per_row)

    def state_alone(self) -> dict[str, Tensor]:
        """`state_dict` of a model that will only be drawn."""
        state = self.state_dict()
        return state | {name: as_half(state[name]) for name in self.half}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state of any number of rows.

        Raises ValueError naming tensors that are missing or unexpected.
        """
        if self.body is not None and "body.law" not in state:  # an older version's
            self.body = None
            del self.table.columns[COLUMN]
        own = self.state_dict()
        state = {k: v for k, v in state.items() if k in own or k not in OUTDATED}
        state = _of_today(state, self.sh_degree)
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(
                f"tensors missing: {missing or 'none'}, unexpected: {unexpected or 'none'}"
            )
        for name, module in self.named_modules():
            if isinstance(module, GaussianTable):
                module.allocate(len(next(v for k, v in state.items() if k.startswith(f"{name}."))))
        own = self.state_dict()
        wrong = [
            f"{k} {tuple(state[k].shape)}, expected {tuple(own[k].shape)}"
            for k in own
            if own[k].shape != state[k].shape
        ]
        if wrong:
            raise ValueError(f"tensors of another shape: {'; '.join(wrong)}")
        self.load_state_dict(state)
        self.at_step, self.drawn_sh_degree = int(self.step), int(self.active_sh_degree)

    def read(self, file: Path) -> None:
        """`load` from a model.safetensors; raises InputError naming what does not fit."""
        state = read_tensors(file)
        try:
            self.load(state)
        except ValueError as error:
            raise InputError(
                f"{file}: it does not fit this method and its settings: {error}"
            ) from None


def as_half(values: Tensor) -> Tensor:
    """The values in float16; those beyond its range at its end."""
    most = torch.finfo(torch.float16).max
    return values.clamp(-most, most).half()


def _of_today(state: dict[str, Tensor], sh_degree: int) -> dict[str, Tensor]:
    """A state that an older version wrote knows the step or the SH degree, by method, but not
    both."""
    if "step" in state:
        degree = (state["step"] // SH_RAMP).clamp(max=sh_degree)
        return {"active_sh_degree": degree} | state
    return {"step": torch.zeros((), dtype=torch.int64)} | state


def make_method(
    facts: SceneFacts, settings: Settings, device: torch.device, points: PointCloud | None = None
) -> MethodBase:
    """Build `scene/methods/<settings.method>.py`'s Method; `points` to start its training from."""
    method = import_module(f"scene.methods.{settings.method}").Method
    return method(facts, settings, points or PointCloud.empty()).to(device)


def require_needs(scene: Scene, settings: Settings) -> None:
    """InputError where the scene lacks what the method trains on."""
    if any(frame.image_path is None for frame in scene.train):
        raise InputError(
            f"{settings.model.source_path}: its frames are read without pictures, which training "
            "needs; leave only_json out"
        )
    method = import_module(f"scene.methods.{settings.method}").Method
    for need in method.needs(settings):
        if need == "flow":
            continue  # `with_needs` makes it
        if need == "subject.model":
            there = scene.subject is not None and scene.subject.model is not None
        elif need == "anchors":
            there = any(frame.role == "anchor" for frame in scene.train)
        else:
            there = all(getattr(frame, need) is not None for frame in scene.train)
        if not there:
            raise InputError(
                f"{settings.model.source_path}: method {settings.method!r} needs {NEEDS[need]}, "
                f"which dataset {settings.dataset!r} does not give; use another dataset or method"
            )
        if need == "subject.model" and scene.subject.misfit:
            raise InputError(f"{settings.model.source_path}: {scene.subject.misfit}")


def with_needs(scene: Scene, settings: Settings, folder: Path) -> tuple[Scene, str]:
    """The scene with what the method needs and pictures tell: the optical flow, kept in the run's
    `folder`; and what is to be said of it.

    Raises InputError as `with_flow` does.
    """
    method = import_module(f"scene.methods.{settings.method}").Method
    if "flow" not in method.needs(settings):
        return scene, ""
    train, share = with_flow(scene.train, folder, settings.optim.flow_folder)
    said = "" if share is None else f"flow: {share:.0%} of the subject's pixels are trusted"
    return replace(scene, train=train), said


def read_method(
    folder: Path, facts: SceneFacts, settings: Settings, device: torch.device
) -> MethodBase:
    """The trained model of a folder `point_cloud/iteration_<step>`.

    Raises InputError naming the file that is missing or does not fit.
    """
    method = make_method(facts, settings, device)
    method.read(folder / "model.safetensors")
    method.settle()
    return method


def open_model(
    settings: Settings, iteration: int, device: torch.device
) -> tuple[SceneFacts, MethodBase]:
    """A trained model and what it knows of its scene; that of an older version asks its dataset.

    Raises InputError as `model_folder` and `read_method` do.
    """
    folder = model_folder(Path(settings.model.model_path), iteration)
    facts = SceneFacts.read(folder)
    if facts is None:
        scene = load_scene(settings.dataset, settings.model, settings.data)
        facts = SceneFacts.from_scene(scene, settings.dataset)
    return facts, read_method(folder, facts, settings, device)


def saved_iterations(model_path: Path) -> list[int]:
    """Steps of the last stage whose models are in a run's folder, ascending."""
    folders = (model_path / "point_cloud").glob("iteration_*/model.safetensors")
    numbers = (path.parent.name.removeprefix("iteration_") for path in folders)
    return sorted(int(number) for number in numbers if number.isdigit())


def model_folder(model_path: Path, iteration: int) -> Path:
    """The folder of the wanted step, or of the last one for -1; InputError lists what is there."""
    saved = saved_iterations(model_path)
    if not saved:
        raise InputError(
            f"{model_path}: no model in it (point_cloud/iteration_*/model.safetensors); train first"
        )
    if iteration not in (-1, *saved):
        there = ", ".join(map(str, saved))
        raise InputError(f"{model_path}: no model of iteration {iteration}; there are {there}")
    return model_path / "point_cloud" / f"iteration_{saved[-1] if iteration == -1 else iteration}"
