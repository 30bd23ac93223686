"""What is no problem but surprises: quirks that the readers take care of, or a setting has to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scene import Scene
from scene.facts import evenly
from scene.frames import EMPTY_ALPHA, Frame
from scripts.data_doctor.checks import Problem, note
from utils.errors import InputError
from utils.images import Pixels, read_image

N_READ = 12  # pictures whose alpha is looked at
OPAQUE, WHITE = 250, 250  # of 255
A_VEIL = 0.02  # of the picture, from which faint pixels are more than an edge
A_FLOOR = 0.2  # of the opaque pixels, from which white ones are more than highlights


def notes(scene: Scene) -> list[Problem]:
    """What a user should know of the scene."""
    return [*masks_numbered_apart(scene), *alpha_that_misleads(scene)]


def masks_numbered_apart(scene: Scene) -> Iterator[Problem]:
    """Masks that have another number than their pictures, all by the same step."""
    pairs = [(f.image_path, f.mask.path) for f in scene.train if f.image_path and f.mask]
    stems = [(picture.stem, mask.stem) for picture, mask in pairs]
    if not stems or not all(name.isdecimal() for pair in stems for name in pair):
        return
    steps = {int(mask) - int(picture) for picture, mask in stems}
    if len(steps) == 1 and steps != {0}:
        picture, mask = (f"{path.parent.name}/{path.name}" for path in pairs[0])
        yield note(
            f"{mask} is taken for the mask of {picture}, and so on: masks are numbered "
            f"{steps.pop():+d} beside the pictures; look at frames.png whether they fit"
        )


def alpha_that_misleads(scene: Scene) -> Iterator[Problem]:
    """Alpha that is never quite 0, and opaque pixels as white as the background."""
    frames = evenly([frame for frame in scene.train if frame.mask is None], N_READ)
    pictures = [pixels for pixels in map(_rgba, frames) if pixels is not None]
    veiled = [
        p for p in pictures if p[..., 3].min() > 0 and (p[..., 3] <= EMPTY_ALPHA).mean() > A_VEIL
    ]
    if veiled:
        yield note(
            f"{len(veiled)} of {len(pictures)} pictures looked at have an alpha of {EMPTY_ALPHA} "
            "of 255 and nowhere 0; it counts as empty"
        )
    floors = [_white_part(p) for p in pictures if p[..., 3].min() < OPAQUE <= p[..., 3].max()]
    share = float(np.median(floors)) if floors else 0.0
    if share > A_FLOOR:
        yield note(
            f"{share:.0%} of what the alpha shows is plain white, as of a floor: train and score "
            "on white (--white_background true, the default), or it has to be learned"
        )


def _white_part(pixels: Pixels) -> float:
    """Of the opaque pixels."""
    return float((pixels[pixels[..., 3] >= OPAQUE][:, :3] >= WHITE).all(1).mean())


def _rgba(frame: Frame) -> Pixels | None:
    """The picture if it has alpha; None, too, where it cannot be read, which is told elsewhere."""
    try:
        pixels = read_image(frame.image_path)
    except InputError:
        return None
    return pixels if pixels.shape[2] == 4 else None
