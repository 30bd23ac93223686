"""What the demo head says and does: a scripted monologue, and a sequence to drive an avatar with.

25 frames a second. Speech is a row of syllables, a consonant and a vowel each; blinks, gaze and
head go on all the time. Beside them there are gestures (a smile, raised brows). The monologue
never makes two of them at once, the driving sequence always does: no frame of it has a combination
that was seen before. A third sequence goes beyond the range of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FPS = 25
NECK, JAW, LEFT_EYE, RIGHT_EYE = 3, 6, 9, 12  # places in the 15 numbers of a pose
JAW_OPEN = 0.30  # radians, the widest of speech
HEAD_TURN = (0.20, 0.35, 0.08)  # radians: the most that the head nods, turns and tilts
BODY_FOLLOWS = 0.1  # of the head's turn
GAZE = (0.15, 0.25)  # radians: the most that the eyes look up or down, and sideways
FARTHER = 1.5  # of the sequence beyond: times what the monologue shows
LIDS = ("eyeBlink", "eyeLook", "eyeSquint", "eyeWide")  # end where they close: never beyond 1
IDLE = (
    0.03  # every coefficient wanders this far, so that none is constant; a face tenses as a whole
)

SYLLABLES = (3.5, 5.5)  # per second
PHRASE, PAUSE = (1.2, 2.6), (0.3, 0.8)  # seconds
BLINK_EVERY, BLINK_LONG = (1.6, 4.0), (0.12, 0.18)  # seconds
SACCADE_EVERY = (0.25, 0.9)  # seconds
GESTURE_LONG = (0.5, 0.9)  # seconds

# Opening of the jaw, in parts of JAW_OPEN, and expression coefficients of each viseme.
VOWELS = {
    "a": (1.0, {"mouthLowerDown": 0.3}),
    "e": (0.65, {"mouthStretch": 0.4, "mouthUpperUp": 0.25}),
    "i": (0.35, {"mouthStretch": 0.55, "mouthDimple": 0.3, "mouthLowerDown": 0.3}),
    "o": (0.85, {"mouthFunnel": 0.7}),
    "u": (0.45, {"mouthPucker": 0.85}),
}
CONSONANTS = {
    "m": (0.10, {"mouthClose": 0.22, "mouthPress": 0.45, "mouthRollUpper": 0.2}),
    "f": (0.20, {"mouthRollLower": 0.55, "mouthUpperUp": 0.3}),
    "s": (0.15, {"mouthLowerDown": 0.5, "mouthUpperUp": 0.4, "mouthShrugLower": 0.3}),
}
GESTURES = {
    "smile": {"mouthSmile": 0.7, "cheekSquint": 0.6, "eyeSquint": 0.3},
    "frown": {"mouthFrown": 0.6, "mouthShrugUpper": 0.3},
    "surprise": {"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.7},
    "anger": {"browDown": 0.8, "noseSneer": 0.5, "eyeSquint": 0.5},
    "worry": {"browInnerUp": 0.8, "browDown": 0.3},
    "puff": {"cheekPuff": 0.7, "mouthPress": 0.4},
    "left": {"mouthLeft": 0.5, "mouthDimpleLeft": 0.4},
    "right": {"mouthRight": 0.5, "mouthDimpleRight": 0.4},
    "chin": {"jawForward": 0.6, "mouthShrugLower": 0.5},
}


@dataclass(frozen=True)
class Performance:
    """A sequence of moments at `FPS`; poses as in scene/head/model.py."""

    expression: Array  # (T, E)
    flame_pose: Array  # (T, 15) radians
    gestures: Array  # (T, G) how far each of GESTURES is made, in [0, 1]

    def __len__(self) -> int:
        return len(self.expression)


def monologue(names: Sequence[str], count: int, seed: int) -> Performance:
    """`count` moments of speech with one gesture after the other; `names` are the coefficients'.

    A gesture rises, holds and falls, a third of its time each.
    """
    return _spoken(names, count, np.random.default_rng([seed, 0]))


def beyond(names: Sequence[str], count: int, seed: int) -> Performance:
    """`count` moments of another monologue in which jaw, neck, gaze and coefficients go half as far
    again: the head turns by up to 30 degrees."""
    spoken = _spoken(names, count, np.random.default_rng([seed, 3]))
    expression = FARTHER * spoken.expression
    lids = [name.startswith(LIDS) for name in names]
    expression[:, lids] = expression[:, lids].clip(max=1)
    return replace(spoken, expression=expression, flame_pose=FARTHER * spoken.flame_pose)


def _spoken(names: Sequence[str], count: int, rng: np.random.Generator) -> Performance:
    gestures = np.zeros((count, len(GESTURES)))
    start, order = 0, []
    while start < count:
        order = order or list(rng.permutation(len(GESTURES)))
        length = _frames(rng, GESTURE_LONG)
        column, height = gestures[:, order.pop()], rng.uniform(0.6, 1.0)
        # A raised cosine is above three quarters of its height for a third of its length.
        _add(column, start, length, height * 4 / 3)
        np.minimum(column[start : start + length], height, out=column[start : start + length])
        start += length
    return _perform(names, gestures, rng)


def driving(names: Sequence[str], count: int, seed: int) -> Performance:
    """`count` moments of speech, every one of them with two gestures at once."""
    rng = np.random.default_rng([seed, 1])
    gestures = np.zeros((count, len(GESTURES)))
    frame = np.arange(count)
    # Two rows of gestures, half a gesture apart: while one row changes the other is at its height.
    length = round(FPS * sum(GESTURE_LONG) / 2)
    sequence = rng.permutation(len(GESTURES))  # over and over, so that neighbours always differ
    for row in (0, 1):
        slot = (frame + row * length // 2) // length
        chosen = sequence[(2 * slot + row) % len(sequence)]
        gestures[frame, chosen] = np.maximum(gestures[frame, chosen], rng.uniform(0.6, 0.9))
    return _perform(names, _smooth(gestures, 1.5), rng)


def _perform(names: Sequence[str], gestures: Array, rng: np.random.Generator) -> Performance:
    """All that goes on beside the gestures, and the coefficients of everything."""
    count = len(gestures)
    tension = IDLE * (1 + wander(rng, count, 12))
    curves = dict.fromkeys(names, tension)
    pose = np.zeros((count, 15))
    _speak(rng, curves, pose)
    for column, parts in zip(gestures.T, GESTURES.values(), strict=True):
        _act(curves, parts, column)
    _blink(rng, curves, count)
    gaze = _gaze(rng, count)
    pose[:, LEFT_EYE : LEFT_EYE + 2] = pose[:, RIGHT_EYE : RIGHT_EYE + 2] = gaze
    _lids_follow(curves, gaze)
    turn = np.stack([size * wander(rng, count, 9) for size in HEAD_TURN], 1)
    pose[:, NECK : NECK + 3] = turn
    pose[:, :3] = BODY_FOLLOWS * turn
    expression = np.clip(np.stack([curves[name] for name in names], 1), 0, 1)
    return Performance(expression, pose, gestures)


def _speak(rng: np.random.Generator, curves: dict[str, Array], pose: Array) -> None:
    """Phrases of syllables with pauses between them; brows rise a little where a phrase begins."""
    count, start = len(pose), _frames(rng, PAUSE)
    while start < count:
        end = start + _frames(rng, PHRASE)
        lift = np.zeros(count)
        _add(lift, start - 3, 14, rng.uniform(0.1, 0.35))
        _act(curves, {"browOuterUp": 1.0}, lift)
        at = float(start)
        while at < end:
            length = FPS / rng.uniform(*SYLLABLES)
            # Neighbouring sounds overlap, as in speech: each is longer than its share.
            for sounds, begin, share in ((CONSONANTS, at, 0.8), (VOWELS, at + 0.2 * length, 1.4)):
                opening, parts = sounds[str(rng.choice(list(sounds)))]
                pulse = np.zeros(count)
                _add(pulse, begin, share * length, rng.uniform(0.7, 1.0))
                pose[:, JAW] = np.maximum(pose[:, JAW], JAW_OPEN * opening * pulse)
                _act(curves, parts, pulse)
            at += length
        start = end + _frames(rng, PAUSE)
    pose[:, JAW + 1] = 0.02 * wander(rng, count, 6)


def _blink(rng: np.random.Generator, curves: dict[str, Array], count: int) -> None:
    start = _frames(rng, BLINK_EVERY)
    while start < count:
        lids = np.zeros(count)
        _add(lids, start, FPS * rng.uniform(*BLINK_LONG) + 1, 1.0)
        _act(curves, {"eyeBlink": 1.0, "eyeSquint": 0.2}, lids)
        start += _frames(rng, BLINK_EVERY)


def _gaze(rng: np.random.Generator, count: int) -> Array:
    """Pitch and yaw (T, 2) of the eyes: they rest, then jump within one frame."""
    gaze, start = np.zeros((count, 2)), 0
    while start < count:
        gaze[start:] = rng.uniform(-1, 1, 2) * GAZE
        start += _frames(rng, SACCADE_EVERY)
    return gaze


def _lids_follow(curves: dict[str, Array], gaze: Array) -> None:
    down, left = (gaze / GAZE).T
    for name, amount in (("eyeLookDown", down), ("eyeLookUp", -down)):
        _act(curves, {name: 0.6}, np.maximum(amount, 0))
    for name, amount in (("eyeLookOutLeft", left), ("eyeLookInRight", left),
                         ("eyeLookInLeft", -left), ("eyeLookOutRight", -left)):  # fmt: skip
        _act(curves, {name: 0.6}, np.maximum(amount, 0))


def _act(curves: dict[str, Array], parts: dict[str, float], amount: Array) -> None:
    """Raise coefficients to `parts` times `amount` (T,); a name without a side means both sides."""
    for name, size in parts.items():
        for full in (name, f"{name}Left", f"{name}Right"):
            if full in curves:
                curves[full] = np.maximum(curves[full], size * amount)


def _add(curve: Array, start: float, length: float, height: float) -> None:
    """Put one raised cosine into a curve (T,), where it is higher than what is there."""
    phase = (np.arange(len(curve)) - start) / length
    pulse = np.where((phase > 0) & (phase < 1), 0.5 - 0.5 * np.cos(2 * np.pi * phase), 0)
    np.maximum(curve, height * pulse, out=curve)


def wander(rng: np.random.Generator, count: int, frames: float) -> Array:
    """Smooth noise (T,) in [-1, 1] that changes over about so many frames; 1 is rare."""
    margin = int(4 * frames)
    noise = _smooth(rng.standard_normal((count + 2 * margin, 1)), frames)[margin:-margin, 0]
    # The window leaves white noise so much of its standard deviation.
    left = (2 * frames * np.sqrt(np.pi)) ** -0.5
    return np.tanh(0.7 * noise / left)


def _smooth(curves: Array, frames: float) -> Array:
    """Curves (T, C) under a Gaussian window of that standard deviation; the ends hold on."""
    reach = int(np.ceil(3 * frames))
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    padded = np.pad(curves, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(column, window / window.sum(), "valid") for column in padded.T]
    return np.stack(columns, 1)


def _frames(rng: np.random.Generator, seconds: tuple[float, float]) -> int:
    return round(FPS * rng.uniform(*seconds))
