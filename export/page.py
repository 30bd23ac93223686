"""`.html`: one page that plays the model by itself, without a server and without a network.

The page is `web/page.html`; the numbers stand in it as base64 of one gzip stream: the length of a
JSON header, the header, and blocks of 8 or 16 bits over their row's range, low bytes first.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.about import About
from export.axes import Y_UP
from export.columns import Columns, columns_of, gaussians_of, morton_order
from export.modes import Modes, channels_of, of_face, of_moments
from scene.gaussian_model import Gaussians
from utils.files import read_bytes, reading, replacing

AXES, MOVES, MOMENTS = Y_UP, True, 60
PAGE = Path(__file__).with_name("web") / "page.html"
SLOT = "/*DATA*/"
RANK = {"moments": 14, "face": 20}  # modes
FAINT = 1 / 255  # an opacity that is never drawn
MAX_BYTES = 2**29  # that a page's data may unpack to


def write_moving(path: Path, frames: Sequence[Gaussians], about: About) -> None:
    """Write moments with the same rows; those of `about.face` where it has one."""
    given = about.face.samples if about.face else frames
    every = [columns_of(gaussians) for gaussians in given]
    seen = np.max([columns.opacities for columns in every], axis=0) > FAINT
    order = morton_order(every[0].means)
    order = order[seen[order]]
    first = every[0].rows(order)
    rows = [channels_of(columns.rows(order), first.quats) for columns in every]
    if about.face:
        face = about.face
        rank = about.modes or RANK["face"]
        modes = of_face(rows, face.controls.numpy(), face.performance.numpy(), rank)
    else:
        modes = of_moments(rows, about.modes or RANK["moments"])
    data = base64.b64encode(_packed(modes, first.sh[:, 1:], about)).decode()
    with replacing(path) as part:
        part.write_text(page_around(data))


def page_around(data: str) -> str:
    """Today's page with numbers in it, base64."""
    page = PAGE.read_text()
    assert page.count(SLOT) == 1
    return page.replace(SLOT, data)


def read_moving(path: Path, part: float) -> Gaussians:
    """The moment at `part` in [0, 1] of what `write_moving` wrote; InputError where damaged."""
    head, blocks = read_page(path)
    modes = modes_of(head, blocks)
    return gaussians_from(modes.at(modes.performed(part)), blocks["rest"])


def read_page(path: Path) -> tuple[dict, dict[str, NDArray]]:
    """The header and the blocks of a page, float32; InputError where it is damaged."""
    text = data_of(path)
    with reading(path, "a page with Gaussians"):
        stream = zlib.decompressobj(wbits=31)
        data = stream.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
        if not stream.eof:
            raise ValueError("its data are cut, or unpack without end")
        (length,) = struct.unpack_from("<I", data)
        head, at, blocks = json.loads(data[4 : 4 + length]), 4 + length, {}
        for name, (bits, rows, n) in head["blocks"].items():
            ends = np.frombuffer(data, "<f4", 2 * rows, at).reshape(2, rows, 1)
            at += 8 * rows
            planes = np.frombuffer(data, np.uint8, bits // 8 * rows * n, at)
            at += len(planes)
            planes = planes.reshape(bits // 8, rows, n).astype(np.float32)
            levels = planes[0] if bits == 8 else planes[0] + 256 * planes[1]
            blocks[name] = ends[0] + ends[1] * levels
        return head, blocks


def data_of(path: Path) -> str:
    """The numbers of a page, base64, whatever version of the page is around them."""
    text = read_bytes(path)
    with reading(path, "a page with Gaussians"):
        return re.search(rb'<script id="data" type="text/plain">([^<]*)</script>', text)[1].decode()


def modes_of(head: dict, blocks: dict[str, NDArray]) -> Modes:
    """The modes of a page."""
    moving = np.array(head["moving"])
    n = blocks["base"].shape[1]
    modes = np.empty((head["rank"], len(moving), n), np.float32)
    places = moving < 3
    modes[:, places] = blocks["mode_places"].reshape(head["rank"], -1, n)
    modes[:, ~places] = blocks["mode_others"].reshape(head["rank"], -1, n)
    tables = (np.array(head[name], np.float64) for name in ("weigh", "rest", "performance"))
    return Modes(tuple(head["channels"]), blocks["base"], moving, modes, *tables)


def gaussians_from(channels: NDArray, rest: NDArray) -> Gaussians:
    """Gaussians of (14, N) channels and (3 K, N) harmonics."""
    quats = channels[3:7].T
    n, dc = channels.shape[1], channels[11:14].T
    sh = np.concatenate([dc[:, None], rest.T.reshape(n, -1, 3)], axis=1)
    opacities = 1 / (1 + np.exp(-channels[10]))
    return gaussians_of(Columns(channels[:3].T, quats, np.exp(channels[7:10].T), opacities, sh))


def _packed(modes: Modes, rest: NDArray, about: About) -> bytes:
    n, places = modes.base.shape[1], modes.moving < 3
    blocks = {
        "base": (16, modes.base, False),
        "rest": (8, rest.reshape(n, -1).T, True),
        "mode_places": (16, modes.modes[:, places].reshape(-1, n), True),
        "mode_others": (8, modes.modes[:, ~places].reshape(-1, n), True),
    }
    face = about.face
    head = {
        "channels": modes.channels,
        "moving": modes.moving.tolist(),
        "rank": len(modes.modes),
        "weigh": np.round(modes.weigh, 7).tolist(),
        "rest": modes.rest.tolist(),
        "performance": np.round(modes.performance, 6).tolist(),
        "degree": round((rest.shape[1] + 1) ** 0.5) - 1,
        "controls": [] if face is None else [
            {"name": name, "low": float(face.low[k]), "high": float(face.high[k])}
            for k, name in enumerate(face.names)
        ],
        **{name: getattr(about, name) for name in
           ("seconds", "antialiased", "background", "eye", "target", "fov")},
        "blocks": {name: (bits, *values.shape) for name, (bits, values, _) in blocks.items()},
    }  # fmt: skip
    text = json.dumps(head, separators=(",", ":")).encode()
    body = b"".join(_block(values, bits, even) for bits, values, even in blocks.values())
    return gzip.compress(struct.pack("<I", len(text)) + text + body, 9, mtime=0)


def _block(values: NDArray, bits: int, is_even: bool) -> bytes:
    """Lowest value and step of each row, then its levels; `is_even`: 0 is one of them."""
    top = 2**bits - 1
    if is_even:
        step = np.abs(values).max(1, initial=0) / (top // 2)
        low = -(top // 2) * step
    else:
        low = values.min(1)
        step = (values.max(1) - low) / top
    step = np.maximum(step, 1e-12)
    levels = np.clip(np.round((values - low[:, None]) / step[:, None]), 0, top).astype(np.uint16)
    planes = [levels & 255] if bits == 8 else [levels & 255, levels >> 8]
    ends = np.stack([low, step]).astype("<f4").tobytes()
    return ends + b"".join(plane.astype(np.uint8).tobytes() for plane in planes)
