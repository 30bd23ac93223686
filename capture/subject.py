"""The folder of a person: the dataset in IMavatar's layout, the overlay, the page, and the note."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from capture.clip import VERSION, Clip, Settings, file_hash, hashed
from capture.fit import Fit, columns_of
from capture.layout import Split, blocks, tail, write_video
from capture.masks import hangs_on_body, head_labels
from capture.overlay import Overlay
from capture.page import summary, write_page
from capture.verdict import USABLE
from scene.head.files import save_head_model
from scene.head.model import HeadModel
from utils.errors import InputError
from utils.files import new_folder, read_json, write_json
from utils.images import contact_sheet, write_image
from utils.video import VideoWriter

NOTE, MADE_BY = "avatar.json", "scripts/make_avatar.py"
SHEET = 6  # frames on the page
OVERLAY_RATE = 25.0
CONSENT = (
    "This folder holds the face of {}. Use it only as that person agreed to: no avatar of somebody "
    "who was not asked, and no pictures of it passed off as a real recording."
)


@dataclass(frozen=True)
class Holding:
    """What is held out, and whose face it is."""

    part: float = 0.2
    tail: bool = False
    person: str = ""


def own_place(out: Path, videos: Sequence[Path]) -> None:
    """Refuse a folder that was not made here, or that a video lies in."""
    inside = [video for video in videos if out.resolve() in video.resolve().parents]
    if inside:
        raise InputError(f"{inside[0]}: it lies in {out}; choose another folder with --out")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        note = out / NOTE
        known = read_json(note) if out.is_dir() and note.is_file() else None
        if not isinstance(known, dict) or known.get("made_by") != MADE_BY:
            raise InputError(
                f"{out}: exists but has no readable {NOTE}, so it was not made by {MADE_BY}; move "
                "it away or choose another folder with --out"
            )
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / NOTE, {"made_by": MADE_BY, "version": VERSION})


def write_subject(
    out: Path,
    clips: Sequence[Clip],
    fits: Sequence[Fit],
    model: HeadModel,
    settings: Settings,
    holding: Holding,
    nets: str,
    *,
    quiet: bool,
) -> Path:
    """Write everything that is not there yet; the subject's folder."""
    subject = out / out.resolve().name
    note = {
        "made_by": MADE_BY,
        "version": VERSION,
        "note": CONSENT.format(holding.person or "the person in the video"),
        "settings": asdict(settings),
        "held_out": {"part": holding.part, "at": "the end" if holding.tail else "blocks"},
        "nets": nets,
        "head_model": model.fingerprint(),
        "videos": [_about(clip, fit) for clip, fit in zip(clips, fits, strict=True)],
    }
    note["made_of"] = hashed(note, [clip.pictures.name for clip in clips])
    if is_written(out, note["made_of"]):
        return subject
    splits = [_split(clip, holding) for clip in clips]
    overlays = [Overlay(model, fit, settings.size) for fit in fits]
    with new_folder(subject, "free some space there") as part:
        for k, (clip, fit, split) in enumerate(zip(clips, fits, splits, strict=True)):
            _write_clip(part / subject.name, k, clip, fit, split, overlays[k], model, quiet)
        save_head_model(model, part / "head_model.npz", basis_dtype="float16")
    sheet = _draw_overlay(out / "overlay.mp4", clips, overlays, quiet)
    write_page(out / "tracking.html", clips, fits, sheet, columns_of(model))
    write_json(out / NOTE, note)
    return subject


def is_written(out: Path, made_of: str) -> bool:
    """Whether the folder holds all that a note with this hash says."""
    known = read_json(out / NOTE)
    there = [out / out.resolve().name, out / "overlay.mp4", out / "tracking.html"]
    return (
        isinstance(known, dict)
        and known.get("made_of") == made_of
        and all(path.exists() for path in there)
    )


def _about(clip: Clip, fit: Fit) -> dict[str, object]:
    found = clip.chosen.found
    verdicts = [
        {"frame": clip.chosen.first + k, "time": round(float(found.times[k]), 4), "verdict": reason}
        for k, reason in enumerate(clip.chosen.reasons)
    ]
    return {
        "file": clip.path.name,
        "sha256": file_hash(clip.path),
        "fps": clip.fps,
        "focal_pixels": clip.view.focal,
        "summary": summary(clip, fit),
        "notes": list(clip.chosen.notes),
        "verdicts": verdicts,
    }


def _split(clip: Clip, holding: Holding) -> Split:
    count = len(clip.seen.times)
    return tail(count, holding.part) if holding.tail else blocks(count, holding.part, clip.fps)


def _write_clip(
    folder: Path,
    number: int,
    clip: Clip,
    fit: Fit,
    split: Split,
    overlay: Overlay,
    model: HeadModel,
    quiet: bool,
) -> None:
    end = f"_{number + 1}" if number else ""
    without = hangs_on_body(model)
    for name, rows in (("train", split.train), ("test", split.test)):
        video = folder / f"{name}{end}"
        names = [str(1 + clip.chosen.first + int(clip.chosen.kept[row])) for row in rows]
        video.mkdir(parents=True)
        write_video(video, fit, rows, names, model, overlay.size)
        for part in ("image", "mask", "semantic"):
            (video / part).mkdir()
        for row, picture in zip(tqdm(rows, video.name, disable=quiet or None), names, strict=True):
            source = clip.pictures / str(clip.chosen.kept[row])
            _link(source.with_suffix(".png"), video / "image" / f"{picture}.png")
            _link(source.parent / f"{source.name}_mask.png", video / "mask" / f"{picture}.png")
            outline = overlay.outline(row, without)
            chin = float(clip.seen.points[row, :, 1].max())
            labels = head_labels(clip.mask(row), outline, chin)
            write_image(video / "semantic" / f"{picture}.png", labels[..., None])


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _draw_overlay(
    file: Path, clips: Sequence[Clip], overlays: Sequence[Overlay], quiet: bool
) -> np.ndarray:
    """The video; a sheet of some of its frames."""
    shown = []
    total = sum(len(clip.seen.times) for clip in clips)
    with VideoWriter(file, OVERLAY_RATE) as video:
        for clip, overlay in zip(clips, overlays, strict=True):
            rows = tqdm(range(len(clip.seen.times)), "overlay", disable=quiet or None)
            for row in rows:
                seen = clip.seen.points[row, :, :2]
                drawn = overlay.draw(clip.picture(row), clip.mask(row), seen, row, USABLE)
                video.add(drawn)
                if len(shown) < SHEET and row % max(1, total // SHEET) == 0:
                    shown.append(drawn)
    pairs = [shown[k : k + 2] for k in range(0, len(shown) - len(shown) % 2, 2)] or [shown]
    return contact_sheet(pairs, [""] * len(pairs[0]))
