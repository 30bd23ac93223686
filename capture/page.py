"""tracking.html: what was tracked, on one page without links to elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from capture.clip import Clip
from capture.fit import JAW, NECK, Fit
from capture.verdict import USABLE, table
from utils.files import write_text
from utils.images import Pixels

WIDTH, HEIGHT = 900, 120  # of a curve, pixels
STYLE = """body{font:15px system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}
img{max-width:100%}td,th{padding:.2em 1em .2em 0;text-align:left}svg{background:#f4f4f4;width:100%}
.note{background:#fff3cd;padding:.4em .8em;margin:.3em 0}"""


def write_page(
    file: Path, clips: Sequence[Clip], fits: Sequence[Fit], sheet: Pixels, names: Sequence[str]
) -> None:
    """One page for all clips; `sheet` shows some frames of the overlay."""
    parts = [f"<h1>{html.escape(file.parent.name)}: tracked</h1>", _picture(sheet)]
    parts.append(
        "<p>Look at overlay.mp4 beside this page, too, before you train: the mesh has to "
        "sit on the face, its jaw and cheeks on theirs, in every frame.</p>"
    )
    for clip, fit in zip(clips, fits, strict=True):
        parts += _clip(clip, fit, names)
    body = "\n".join(parts)
    write_text(
        file,
        f"<!doctype html><meta charset=utf-8><title>tracking</title><style>{STYLE}</style>{body}\n",
    )


def summary(clip: Clip, fit: Fit) -> dict[str, object]:
    """Numbers of one clip's tracking."""
    pose = np.degrees(fit.pose.numpy())
    return {
        "frames": len(clip.chosen.reasons),
        "usable": int((clip.chosen.reasons == USABLE).sum()),
        "left_out": table(clip.chosen.reasons),
        "points_off_px_at_512": round(float(fit.error.mean()), 2),
        "turns_to_left_degrees": [round(float(v), 1) for v in _ends(pose[:, NECK + 1])],
        "nods_down_degrees": [round(float(v), 1) for v in _ends(pose[:, NECK])],
        "jaw_degrees": [round(float(v), 1) for v in _ends(pose[:, JAW])],
    }


def _clip(clip: Clip, fit: Fit, names: Sequence[str]) -> list[str]:
    rows = "".join(
        f"<tr><th>{key.replace('_', ' ')}<td>{html.escape(str(value))}"
        for key, value in summary(clip, fit).items()
    )
    out = [f"<h2>{html.escape(clip.path.name)}</h2>"]
    out += [f"<div class=note>{html.escape(note)}</div>" for note in clip.chosen.notes]
    out.append(f"<table>{rows}</table>")
    blink = [k for k, name in enumerate(names) if name.startswith("eyeBlink")]
    curves = {
        "jaw, degrees": np.degrees(fit.pose[:, JAW].numpy()),
        "eyes shut": fit.expression[:, blink].mean(1).numpy() if blink else np.zeros(1),
        "head to its left, degrees": np.degrees(fit.pose[:, NECK + 1].numpy()),
        "head down, degrees": np.degrees(fit.pose[:, NECK].numpy()),
        "points off, pixels of a face crop of 512": fit.error.numpy(),
    }
    return out + [_curve(name, values) for name, values in curves.items()]


def _curve(name: str, values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    x = np.linspace(0, WIDTH, len(values))
    y = HEIGHT - 4 - (values - low) / max(high - low, 1e-9) * (HEIGHT - 8)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f"<p>{html.escape(name)}: {low:.2f} to {high:.2f}<br>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}"><polyline points="{line}" fill="none" '
        'stroke="#c33" stroke-width="1.5"/></svg></p>'
    )


def _picture(pixels: Pixels) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _ends(values: np.ndarray) -> np.ndarray:
    return np.percentile(values, [1, 99])
