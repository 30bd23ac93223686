"""Pieces of HTML for the report: every text is escaped here, every file becomes a data: address."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import cv2

from utils.errors import shown
from utils.images import check_image, read_image

Cell = str | float | int | None

PICTURE_BYTES = 150_000  # a larger picture is embedded as JPEG, no wider than the next number
PICTURE_WIDTH = 1000  # pixels; wider than it is ever shown here


def section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def missing(text: str) -> str:
    """A part that is not there, and how to get it."""
    return paragraph(text, "missing")


def cards(facts: Iterable[tuple[str, str]]) -> str:
    items = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return f'<dl class="cards">{"".join(items)}</dl>'


def details(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>\n{body}\n</details>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table whose first column names the rows; numbers are set to the right."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    top = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "\n".join(
        f'<tr><th scope="row">{escape(str(first))}</th>{"".join(map(_cell, rest))}</tr>'
        for first, *rest in rows
    )
    caption = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{caption}{top}<tbody>\n{body}\n</tbody></table></div>'


def plain(value: object) -> str:
    """A setting as a reader would write it."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        return shown(value)


def strip_plot(values: Sequence[float], label: str) -> str:
    """One dot per view between the lowest and the highest value."""
    low, high = min(values), max(values)
    places = [6 + 148 * (value - low) / (high - low or 1.0) for value in values]
    dots = "".join(f'<circle cx="{x:.1f}" cy="9" r="4"/>' for x in places)
    return (
        f'<svg class="strip" width="160" height="18" role="img" aria-label="{escape(label)}">'
        f'<line x1="0" y1="9" x2="160" y2="9"/>{dots}</svg>'
    )


def compare(left: Path, right: Path, *, name: str, caption: str) -> str:
    """Two pictures over each other with a divider that a mouse, a finger or the arrow keys move."""
    label = escape(f"{name}: share of the ground truth shown, from the left")
    return (
        '<figure><div class="compare">'
        f'<img src="{picture(left)}" alt="{escape(name)}, ground truth">'
        f'<img src="{picture(right)}" alt="{escape(name)}, render">'
        f'<b>ground truth</b><b>render</b><input type="range" value="50" aria-label="{label}">'
        f"</div><figcaption>{escape(caption)}</figcaption></figure>"
    )


def picture(path: Path) -> str:
    """data: address of an image file: as it is when small, else as a JPEG."""
    check_image(path)  # anything else would be given away with the page
    if path.stat().st_size <= PICTURE_BYTES:
        return data_address(path.read_bytes(), "image/png")
    pixels = cv2.cvtColor(read_image(path)[..., :3], cv2.COLOR_RGB2BGR)
    factor = min(1.0, PICTURE_WIDTH / pixels.shape[1])
    pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return data_address(jpeg.tobytes(), "image/jpeg")


def data_address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def number(value: float) -> str:
    """A score as tables have it: 26.01 dB, 0.9391."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


class Markup(str):
    """HTML that is ready to be placed in a table as it is."""

    __slots__ = ()


def _cell(value: Cell) -> str:
    if isinstance(value, Markup):
        return f"<td>{value}</td>"
    if isinstance(value, (int, float)):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(value or '-')}</td>"
