"""From video files to a fitted head, stage by stage; what was done is kept and never done twice.

Every stage's file is named after the hash of all that it depends on, so that a killed run goes on
where it stopped, and a changed setting repeats only what it changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from capture import bundle
from capture.eyes import Eyes, eyes_of
from capture.find import WHOLE, Finder, Found, find
from capture.fit import PER_FRAME, RATES, STEPS, STEPS_AGAIN, Fit, Weights, columns_of, fit
from capture.masks import person_mask
from capture.nets import FaceNets
from capture.table import PointHead, PointTable
from capture.verdict import LEAST, Chosen, after_fit, choose
from capture.video import Source, is_hdr, rate, to_sdr
from capture.view import View
from scene.head.model import HeadModel
from utils.errors import InputError
from utils.files import read_bytes, replacing
from utils.images import Pixels, read_image, write_image
from utils.tensors import read_tensors, write_tensors

VERSION = 4  # raise when a stage's result changes, so that old ones are made again
CHUNK = 256  # frames that a killed run loses at most


@dataclass(frozen=True)
class Settings:
    """What the tracking of every clip depends on."""

    fps: float = 25.0
    size: int = 512
    start: float = 0.0
    end: float = 0.0
    rotate: int = 0
    face: str = ""  # "": a clip with several faces is refused
    focal: float = 2.2


@dataclass(frozen=True)
class Clip:
    """One video file of the person."""

    path: Path
    chosen: Chosen
    view: View
    seen: Found  # the usable frames, in pixels of the square
    pictures: Path  # folder of the squares and masks of the usable frames, by frame number
    fps: float

    def picture(self, row: int) -> Pixels:
        return read_image(self.pictures / f"{self.chosen.kept[row]}.png")

    def mask(self, row: int) -> np.ndarray:
        return read_image(self.pictures / f"{self.chosen.kept[row]}_mask.png")[..., 0]


class Stages:
    """The folder of what was done."""

    def __init__(self, folder: Path, nets: FaceNets, *, quiet: bool) -> None:
        self.folder, self.nets, self.quiet = folder, nets, quiet
        folder.mkdir(parents=True, exist_ok=True)

    def clip(self, path: Path, settings: Settings, least: int = LEAST) -> Clip:
        """Find the face, choose frames and cut them out. Raises InputError as `choose` does."""
        source, notes = self._source(path, settings)
        key = hashed(
            file_hash(source.path),
            asdict(replace(settings, size=0, focal=0.0)),
            self.nets.fingerprint,
        )
        found = self._found(source, settings.face or "largest", key)
        named = bool(settings.face)
        chosen = choose(path.name, found, face_named=named, least=least)
        chosen = replace(chosen, notes=(*notes, *chosen.notes))
        usable = chosen.found.part(chosen.kept)
        view = View.of(usable, settings.focal, settings.size)
        folder = self.folder / f"pictures_{hashed(key, view.matrix.tolist(), settings.size)}"
        self._cut(source, chosen, view, folder)
        return Clip(path, chosen, view, view.seen(usable), folder, rate(found.times))

    def fitted(self, clips: list[Clip], model: HeadModel, table: PointTable) -> list[Fit]:
        """One head for all clips; a fit for each. It is as long as the clip's usable frames."""
        pictures = [clip.pictures.name for clip in clips]
        how = asdict(Weights()), RATES, STEPS, STEPS_AGAIN
        key = hashed(model.fingerprint(), table_hash(table), pictures, how)
        file = self.folder / f"fit_{key}.safetensors"
        if file.is_file():
            whole = Fit(**read_tensors(file))
        else:
            whole = fit_clips(clips, model, table)
            with replacing(file) as temporary:
                write_tensors(temporary, {f.name: getattr(whole, f.name) for f in fields(whole)})
        return divided(whole, clips)

    def _source(self, path: Path, settings: Settings) -> tuple[Source, tuple[str, ...]]:
        s, notes = settings, ()
        if is_hdr(path):
            plain = self.folder / f"sdr_{file_hash(path)[:12]}.mp4"
            done = plain.is_file() or to_sdr(path, plain)
            path = plain if done else path
            how = (
                "its colours were mapped to ordinary ones"
                if done
                else ("this ffmpeg cannot map its colours, which will look pale: film without HDR")
            )
            notes = (f"the video is HDR: {how}",)
        return Source(path, s.fps, s.start, s.end, s.rotate), notes

    def _found(self, source: Source, face: str, key: str) -> Found:
        """Chunk by chunk; the finder goes on from the last points of the chunk before."""
        parts: list[Found] = []
        frames = self._bar(source.frames(), f"find {source.path.name}")
        finder, number = Finder(self.nets, face), 0
        while True:
            file = self.folder / f"found_{key}_{number:03d}.safetensors"
            number += 1
            chunk = islice(frames, CHUNK)
            if file.is_file():
                part = Found(**{k: v.numpy() for k, v in read_tensors(file).items()})
                skipped = sum(1 for _ in chunk)
                finder.resume(part)
                if not skipped:
                    break
            else:
                part = find(chunk, finder, parts[-1] if parts else None)
                if not len(part.times):
                    break
                arrays = {f.name: torch.from_numpy(getattr(part, f.name)) for f in fields(part)}
                with replacing(file) as temporary:
                    write_tensors(temporary, arrays)
            parts.append(part)
        if not parts:
            raise InputError(f"{source.path}: no frame between --start and --end; choose others")
        return joined(parts)

    def _cut(self, source: Source, chosen: Chosen, view: View, folder: Path) -> None:
        wanted = {chosen.first + int(k): int(k) for k in chosen.kept}
        done = [f"{k}{end}.png" for k in wanted.values() for end in ("", "_mask")]
        if all((folder / name).is_file() for name in done):
            return
        for number, (_, picture) in enumerate(self._bar(source.frames(), "pictures")):
            if number > max(wanted):
                break
            k = wanted.get(number)
            if k is None or (folder / f"{k}_mask.png").is_file():
                continue
            square = view.cut(picture)
            face = view.places(chosen.found.points[k, :, :2])
            mask = person_mask(square, face, self.nets)
            write_image(folder / f"{k}.png", square)
            write_image(folder / f"{k}_mask.png", mask[..., None])

    def _bar(self, frames: Iterator, name: str) -> Iterator:
        return iter(tqdm(frames, name, unit="frame", disable=self.quiet or None))


def divided(whole: Fit, clips: list[Clip]) -> list[Fit]:
    """The fit of each clip, out of one of all their frames."""
    ends = np.cumsum([0, *(len(clip.seen.times) for clip in clips)])
    return [whole.part(np.arange(a, b)) for a, b in pairwise(ends)]


def fit_clips(clips: list[Clip], model: HeadModel, table: PointTable) -> Fit:
    """One identity, and every usable frame of all clips.

    First by the points; then the poses by each clip's own pictures, since another clip may have
    another light (bundle adjustment); then all but the poses by the points again.
    """
    head = PointHead.of(model, table)
    eyes = [eyes_of(clip.seen, table, clip.fps) for clip in clips]
    every = Eyes(*(torch.cat([getattr(e, f.name) for e in eyes]) for f in fields(Eyes)))
    focal = np.concatenate([np.full(len(c.seen.times), c.view.focal) for c in clips])
    groups = np.concatenate([c.chosen.kept + 10**6 * k for k, c in enumerate(clips)])
    what = head, columns_of(model), joined([clip.seen for clip in clips]), every
    first = fit(*what, focal=focal, groups=groups, steps=STEPS)
    poses = [_refined(c, part, model) for c, part in zip(clips, divided(first, clips), strict=True)]
    cut = {name: torch.cat([getattr(part, name) for part in poses]) for name in PER_FRAME}
    first = replace(first, **cut)
    last = fit(*what, focal=focal, groups=groups, steps=STEPS_AGAIN, held=first)
    # The neck follows shape and expressions a little; heads stay where the pictures have them.
    stand = bundle.viewmats(first, model.personal(first.shape))
    return bundle.with_viewmats(last, model.personal(last.shape), stand)


def _refined(clip: Clip, part: Fit, model: HeadModel) -> Fit:
    return bundle.refine(part, model, clip.picture, clip.mask, clip.view.size)


def checked(clips: list[Clip], fits: list[Fit], least: int = LEAST) -> tuple[list[Clip], list[Fit]]:
    """Without the frames whose fit is bad; raises InputError where too few are left."""
    new_clips, new_fits = [], []
    for clip, fitted in zip(clips, fits, strict=True):
        chosen, rows = after_fit(clip.path.name, clip.chosen, fitted, least=least)
        new_clips.append(replace(clip, chosen=chosen, seen=clip.seen.part(rows)))
        new_fits.append(fitted.part(rows))
    return new_clips, new_fits


def joined(parts: list[Found]) -> Found:
    """Parts one after the other."""
    columns = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(Found)
        if f.name not in WHOLE
    }
    return Found(**columns, size=parts[0].size, last=parts[-1].last)


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def table_hash(table: PointTable) -> str:
    digest = hashlib.sha256()
    for f in fields(table):
        digest.update(getattr(table, f.name).contiguous().numpy().tobytes())
    return digest.hexdigest()


def hashed(*things: object) -> str:
    """Twelve digits that stand for what a stage depends on."""
    text = json.dumps([VERSION, *things], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
