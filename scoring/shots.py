"""What render.py draws besides the frames of the dataset: frames by the name of their folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arguments.settings import RenderParams, Settings
from scene import Scene, avatar, camera_path, load_scene, performance
from scene.facts import SceneFacts
from scene.frames import Frame
from scoring.views import FITTED_REENACTMENT, REENACTMENT

N_TURN = 120  # views of a turn
N_MOMENTS = 120  # of the video of paths
N_ROWS = 5  # of a sheet of sides, moments

Shots = dict[str, list[Frame]]


def asked(facts: SceneFacts, settings: Settings, options: RenderParams) -> Shots:
    """All that the options ask for and a model without its dataset can show."""
    shots = {} if options.skip_video else {"video": facts.video}
    shots |= _performed(facts, settings, options)
    if options.path:
        shots["path"] = camera_path.frames_of(Path(options.path), facts)
    return shots | _moments(facts, options)


def _performed(facts: SceneFacts, settings: Settings, options: RenderParams) -> Shots:
    """What an avatar is asked to do."""
    shots = {}
    if options.novel_view:
        shots["novel_view"] = avatar.turned(facts, options.turn, N_TURN, playing=options.playing)
    if options.novel_expression:
        shots["novel_expression"] = [frame for row in avatar.swept(facts) for frame in row]
    if options.drive:
        other = _other_scene(options.drive, settings, options, pictures=False)
        shots["drive"] = avatar.driven(
            facts, other, subtract_mean=options.drive_mean, clamp=options.drive_clamp
        )
    if options.reenact:
        other = _other_scene(options.reenact, settings, options, pictures=True)
        shots[REENACTMENT] = avatar.reenacted(facts, other, clamp=options.drive_clamp)
        if options.fit:
            shots[FITTED_REENACTMENT] = shots[REENACTMENT]
    return shots


def _moments(facts: SceneFacts, options: RenderParams) -> Shots:
    """Moments before cameras that the model knows."""
    shots = {}
    if options.points:
        shots["points"] = facts.shown
    if options.tracks:
        shots["tracks"] = performance.played(facts, N_MOMENTS)
    if options.novel_time:
        shots["novel_time"] = [performance.at(facts, part) for part in options.novel_time]
    if options.freeze >= 0:
        shots["frozen"] = performance.frozen(facts, options.freeze)
    if options.sides:
        shots["sides"] = performance.from_all_sides(facts, N_ROWS, options.sides)
    return shots


def _other_scene(path: str, settings: Settings, options: RenderParams, *, pictures: bool) -> Scene:
    params, data = replace(settings.model, source_path=path), settings.data
    if "test_videos" in vars(data):  # names folders of the avatar's own dataset
        data = replace(data, test_videos=[])
    return load_scene(options.drive_dataset, params, data, pictures=pictures)
