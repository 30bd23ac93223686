"""Every method on a scene of a few pixels: the cases behind the promises that hold for all methods.

Methods are found as train.py finds them, by their files; one without a case fails in every test
that asks for the fixture `case`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from scene.methods import MethodBase
from tests.tiny_scene import (
    write_tiny_flame_head,
    write_tiny_head,
    write_tiny_scene,
    write_tiny_views,
)
from tests.with_more_methods import know_more_methods

ROOT = Path(__file__).parents[1]
METHODS = sorted(path.stem for path in (ROOT / "scene/methods").glob("[!_]*.py"))
# 4DGS whose Gaussians ride on control points: to its promises it is one more method.
SHIPPED = [*METHODS, "carried"]
# Of tests/more_methods: what the seams must carry beside what is shipped. A module that holds it to
# its promises, too, gives its fixture `case` the parameters EVERY.
EVERY = [*SHIPPED, "anchored"]
# What no method can change, such as how files are read, is tried with two that differ: a scene and
# a head, two stages and one.
TWO = ("fourdgs", "gaussianhead")
SMALL_STEPS = 12  # of the last stage of the models of the fixture small_models
know_more_methods()


@dataclass(frozen=True)
class Case:
    """A method, a scene that has what it needs, and its own words for what every method has."""

    method: str
    write: Callable[[Path], Path]  # makes the scene in a folder and returns the folder
    frames: str  # its file that lists the training frames
    stages: tuple[str, ...]
    small: str  # flags of a model that trains in a blink
    first: str  # flag: steps before everything moves
    wider: str  # flags of a model that no checkpoint of a small one fits
    everything: str  # flags that switch on what is off by default
    growing: str  # flags of a run in which every row is densified at once, after a few steps
    views: dict[str, int]  # pictures of each split
    video: int
    draws: str = ""  # the first stage that draws; the first of all if empty
    # the first stage whose losses are those of the last one; the first that draws if empty
    measures: str = ""
    place: str = "means"  # column of the table that says where a row is
    at_rest: bool = True  # the PLY has the table's own places; otherwise those of a mean frame
    antialiased: bool = False  # whatever the flag says
    short: tuple[str, ...] = ()  # stages of a few steps, whatever the flags say
    unmoved: tuple[str, ...] = ()  # groups that a step does not move before the method has chosen

    @property
    def last(self) -> str:
        return self.stages[-1]

    @property
    def drawing(self) -> str:
        return self.draws or self.stages[0]

    @property
    def type(self) -> type[MethodBase]:
        return import_module(f"scene.methods.{self.method}").Method

    def flags(self, iterations: int, first: int) -> list[str]:
        """Of train.py, for a small model and a run of so many steps."""
        text = f"--method {self.method} --iterations {iterations} {self.first} {first} {self.small}"
        return text.split()


CASES = {
    "blendshapes": Case(
        "blendshapes",
        write_tiny_head,
        frames="transforms.json",
        stages=("coarse", "fine"),
        small="--n_bases 6 --mix_width 16",
        first="--coarse_iterations",
        wider="--n_bases 7",
        everything="--mix_relu --refine_expression --refine_camera",
        growing="--coarse_iterations 12 --n_bases 8 --densify_grad_threshold 1e-12",
        views={"train": 12, "test": 3},
        video=3,
        at_rest=False,
    ),
    "fourdgs": Case(
        "fourdgs",
        write_tiny_scene,
        frames="transforms_train.json",
        stages=("coarse", "fine"),
        small="--multires 1",
        first="--coarse_iterations",
        wider="--net_width 32",
        everything="--expression_input --flame_pose_input --refine_expression --refine_flame_pose "
        "--refine_camera --latent_width 3 --lambda_offsets 0.1",
        growing="--coarse_iterations 12 --multires 1 2 --densify_grad_threshold_coarse 1e-12",
        views={"train": 12, "test": 3, "val": 2},
        video=160,
    ),
    "gaussianhead": Case(
        "gaussianhead",
        write_tiny_head,
        frames="transforms.json",
        stages=("main",),
        small="--lambda_vgg 0 --deform_width 16 --plane_resolution 16",
        first="--warm_up",
        wider="--deform_width 32",
        everything="--flame_pose_input",
        growing="--warm_up 1 --lambda_vgg 0 --deform_width 64 --densify_grad_threshold 1e-12",
        views={"train": 12, "test": 3},
        video=3,
    ),
    "monogaussian": Case(
        "monogaussian",
        write_tiny_flame_head,
        frames="transforms.json",
        stages=("main",),
        small="--field_width 16 --correction_width 0",
        first="--refine_after",
        wider="--field_width 32",
        everything="--refine_camera --attribute_width 48 --anchored false --canonical_offset "
        "--field_smooth",
        growing="--grow_at 0.2 --field_width 32 --correction_width 16",
        views={"train": 12, "test": 3},
        video=3,
    ),
    "npg": Case(
        "npg",
        write_tiny_scene,
        frames="transforms_train.json",
        stages=("coarse", "splat"),
        small="--n_points 60 --n_shapes 14 --net_width 16 --net_depth 1 --window 3 "
        "--feature_lr 0.02 --opacity_lr 0.2 --scaling_lr 0.02 --position_lr_init 0.02 "
        "--shapes_lr 1e-3 --network_lr_init 1e-3",
        first="--coarse_iterations",
        wider="--n_shapes 15",
        everything="--two_backgrounds --static_box",
        growing="--coarse_iterations 3 --n_points 1000 --window 3 --densify_grad_threshold 1e-12",
        views={"train": 12, "test": 3, "val": 2},
        video=160,
        measures="splat",
        place="blend",
    ),
    "stag4d": Case(
        "stag4d",
        write_tiny_views,
        frames="zero123/cameras.json",
        stages=("static", "moving"),
        small="--multires 1 --hold_out 1 --iters 1",
        first="--init_steps",
        wider="--net_width 32",
        everything="--confidence 0 --lambda_hull 0.5 --legacy_time_range --legacy_smoothness "
        "--cooldown 0.5",
        growing="--init_steps 8 --multires 1 --batch_size 1 --init_points 10000 "
        "--densify_grad_threshold_percent 1",
        views={"train": 12, "test": 3},
        video=120,
    ),
    "carried": Case(
        "fourdgs",
        write_tiny_scene,
        frames="transforms_train.json",
        stages=("coarse", "track", "fine"),
        small="--follow always --track_iterations 4 --multires 1 --n_control 60 --n_knots 8 "
        "--init_rows 600",
        first="--coarse_iterations",
        wider="--n_knots 10",
        everything="",
        growing="--follow always --coarse_iterations 3 --track_iterations 8 --n_control 20 "
        "--multires 1 --init_rows 3000 --riding_grad_threshold 1e-12",
        views={"train": 12, "test": 3, "val": 2},
        video=160,
        measures="fine",
        antialiased=True,
        short=("track",),
        unmoved=("blend", "splines"),
    ),
    "anchored": Case(
        "anchored",
        write_tiny_scene,
        frames="transforms_train.json",
        stages=("points", "gaussians"),
        small="--rows_per_point 20",
        first="--coarse_iterations",
        wider="--rows_per_point 21",
        everything="",
        growing="--coarse_iterations 3 --rows_per_point 2500 --share 1",
        views={"train": 12, "test": 3, "val": 2},
        video=160,
        draws="gaussians",
        place="offsets",
    ),
}
