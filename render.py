"""Render a trained model: python render.py --model_path output/NAME"""

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import os
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from arguments import parse_render_args
from arguments.settings import RenderParams, Settings
from gaussian_renderer.kept import Kept, come_again
from gaussian_renderer.marks import Marks, dots, trails
from gaussian_renderer.show import Show
from scene import SPLITS, avatar, found_folder, load_scene
from scene.facts import SceneFacts
from scene.frames import Frame, FrameLoader
from scene.methods import MethodBase, model_folder, read_method
from scene.parts import as_picture, parts_of
from scoring.sheets import write_grid, write_sides
from scoring.shots import N_ROWS, Shots, asked
from scoring.views import FITTED_REENACTMENT, REFINED
from scoring.views_file import view_name, write_views
from training.model_folder import require_apart
from training.refine import corrections, fit_frames, fit_moments
from utils.behind import Behind
from utils.devices import choose_device
from utils.errors import InputError, run_command
from utils.files import new_folder, own_folder, write_json
from utils.images import Pixels, to_pixels, write_depth, write_image
from utils.ply import write_points
from utils.video import VideoWriter

N_TRACKS = 100  # paths that a video shows
PARTS = ("renders", "gt", "parts", "depth")  # folders of a shot's pictures
VIDEO = "video_rgb"
KEPT_MB = 512  # of posed Gaussians
TIMED = 8  # views that tell how fast a model is drawn: nothing is written meanwhile


def render_model(settings: Settings, options: RenderParams) -> None:
    """Write renders, ground truth and a video of every split that is not skipped.

    Pictures of the dataset are asked for where a split shows them, and for nothing else.
    """
    if options.refine_test and options.skip_test:
        raise InputError(
            "--refine_test draws the test frames and --skip_test leaves them out: give one of them"
        )
    device = choose_device(settings.run.device)
    model_path, source = Path(settings.model.model_path), settings.model.source_path
    if options.fit and not options.reenact:
        raise InputError("--fit fits the frames of --reenact: name that sequence's folder, too")
    for data in filter(os.path.isdir, (source, options.drive, options.reenact)):
        require_apart(model_path, data)
    folder = model_folder(model_path, options.iteration)
    facts = SceneFacts.read(folder)  # None: a model of an older version, which needs its dataset
    pictured = [s for s in SPLITS if s != "video" and not getattr(options, f"skip_{s}")]
    missing = bool(facts and pictured) and not _is_there(settings)
    shots = {}
    if facts is None or (pictured and not missing):
        scene = load_scene(settings.dataset, settings.model, settings.data)
        facts = facts or SceneFacts.from_scene(scene, settings.dataset)
        shots = {split: scene.split(split) for split in pictured}
    shots |= asked(facts, settings, options)
    method = read_method(folder, facts, settings, device)
    if options.refine_test:
        corrections(method)
        shots[REFINED] = shots.get("test", [])
        if not shots[REFINED] and not missing:
            raise InputError(f"{settings.model.source_path}: --refine_test finds no test frames")
    marks = marks_of(method, shots, model_path)
    iteration = folder.name.removeprefix("iteration_")
    outs = {name: model_path / name / f"ours_{iteration}" for name in shots if shots[name]}
    for out in outs.values():
        for part in PARTS:
            own_folder(model_path, out / part)
    for name, out in outs.items():
        show = Show(method, FrameLoader(0, device))
        if name == REFINED:  # the last of all that is drawn
            fit_moments(method, shots[name], show.loader, options.refine_test)
        if name == FITTED_REENACTMENT:
            steps, quiet = options.fit, settings.run.quiet
            shots[name] = fit_frames(method, facts, shots[name], show.loader, steps, quiet=quiet)
        write_shot(out, shots[name], show, facts, settings, options, marks.get(name))
        if name == "points":
            write_carriers(out, shots[name], method, facts)
    if missing:
        line = (
            f"{source}: the dataset is not there, so {', '.join(pictured)} views, which need its "
            "pictures, were left out; name the dataset's folder with -s"
        )
        if not shots:
            raise InputError(line)
        print(line)


def _is_there(settings: Settings) -> bool:
    try:
        found_folder(settings.model)
    except InputError:
        return False
    return True


def marks_of(method: MethodBase, shots: Shots, model_path: Path) -> dict[str, Marks]:
    """What is drawn over the pictures of a shot; InputError where the method has no such thing."""
    marks: dict[str, Marks] = {}
    if "points" in shots:
        if method.carriers(shots["points"][0]) is None:
            raise InputError(
                f"{model_path}: the Gaussians of this method ride on no points; leave --points out"
            )
        marks["points"] = dots(lambda frame: method.carriers(frame)[0])
    if "tracks" in shots:
        device = next(method.parameters()).device
        frames = [method.prepare(frame.to(device)) for frame in shots["tracks"]]
        marks["tracks"] = trails(method, frames, N_TRACKS)
    return marks


def write_carriers(
    folder: Path, frames: list[Frame], method: MethodBase, facts: SceneFacts
) -> None:
    """A PLY a frame of what the Gaussians ride on, where the dataset has it, and all numbers."""
    said = []
    with new_folder(folder / "clouds", "make room and run the same command again") as part:
        for k, frame in enumerate(frames):
            points, numbers = method.carriers(frame)
            write_points(part / f"{k:05d}.ply", facts.world.theirs(points).cpu().numpy())
            said.append({"name": f"{k:05d}.ply", "time": frame.time, "coefficients": numbers})
    write_json(folder / "coefficients.json", {"moments": said})


def write_shot(
    folder: Path,
    frames: list[Frame],
    show: Show,
    facts: SceneFacts,
    settings: Settings,
    options: RenderParams,
    marks: Marks | None = None,
) -> None:
    """Stream the frames to disk as pictures and a video, and say how fast they were drawn."""
    name, pictures = folder.parent.name, not options.video_only
    if pictures:
        clear(folder)
    videos: dict[tuple[int, int], VideoWriter] = {}  # one for each size of picture

    def drawn(frame: Frame) -> tuple[Frame, Tensor, Tensor | None]:
        loaded = show.load(frame)
        view = show(loaded)  # the next one takes the place of its image
        return loaded, view.image.clone(), view.depth[0] if options.depth else None

    @torch.no_grad()
    def write(k: int, frame: Frame, image: Tensor, depth: Tensor | None) -> None:
        pixels = to_pixels(image)
        pixels = marks(frame, pixels) if marks else pixels
        size = (frame.camera.width, frame.camera.height)
        if size not in videos:
            file = VIDEO + (f"_{size[0]}x{size[1]}" if videos else "") + ".mp4"
            writer = VideoWriter(folder / file, fps=facts.fps)
            videos[size] = open_videos.enter_context(writer)
        videos[size].add(pixels)
        if pictures:
            write_view(folder, view_name(k), pixels, frame, facts)
        if depth is not None:
            write_depth(folder / "depth" / view_name(k), depth)

    with ExitStack() as open_videos, Behind() as later:
        timed = [drawn(frame) for frame in frames[:TIMED]]
        timing = show.frames_per_second()
        if come_again(show.model, frames):
            show.pose = Kept(show.model, KEPT_MB)  # from here on: what is timed is posed
        views = chain(timed, map(drawn, frames[TIMED:]))
        for k, view in enumerate(tqdm(views, name, len(frames), disable=settings.run.quiet)):
            later(write, k, *view)
    if pictures:
        write_views(folder, frames, facts.regions, fps=facts.fps, timing=timing)
    print(
        f"{name}: {len(frames)} views in {folder}; {timing['posed_and_drawn_fps']:.1f} FPS posing "
        f"and drawing, {timing['drawn_fps']:.1f} FPS rasterizer alone"
    )
    if name == "novel_expression" and pictures:
        write_grid(folder, avatar.sweep_names(facts))
    if name == "sides" and pictures:
        write_sides(folder, [frame.time for frame in frames[:: len(frames) // N_ROWS]])


def clear(folder: Path) -> None:
    """Take away the pictures of an earlier call: it may have drawn more views, or others."""
    for part in PARTS:
        for file in (folder / part).glob("*.png"):
            file.unlink()
    for file in folder.glob(f"{VIDEO}_*x*.mp4"):
        file.unlink()


def write_view(folder: Path, name: str, pixels: Pixels, frame: Frame, facts: SceneFacts) -> None:
    """Write the picture of a view and, where there is one, what it should show, and what of it is
    head and torso."""
    write_image(folder / "renders" / name, pixels)
    if frame.image is None:
        return
    write_image(folder / "gt" / name, frame.image)
    parts = parts_of(frame, facts.regions)
    if parts is not None:
        write_image(folder / "parts" / name, as_picture(parts))


if __name__ == "__main__":
    started()
    settings, options = run_command(
        lambda: parse_render_args(sys.argv[1:]), debug="--debug" in sys.argv
    )
    run_command(lambda: render_model(settings, options), debug=settings.run.debug)
