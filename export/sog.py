"""`.sog`: Gaussians as pictures, version 2: a zip of lossless WebP planes, a pixel each.

Places: sign(x) ln(|x| + 1) in 16 bits of their range; quaternions: the three smaller components,
a byte each; scales, colours and harmonics: indices into code books of 256 numbers.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.axes import Y_DOWN
from export.columns import (
    Columns,
    columns_of,
    gaussians_of,
    largest_of,
    morton_order,
    with_largest,
)
from scene.gaussian_model import Gaussians
from utils.files import read_bytes, reading, replacing

AXES, MOVES = Y_DOWN, False
BOOK = 256  # numbers of a code book
PALETTE = 65_536  # rows of harmonics that Gaussians share, at most
ACROSS = 64  # palette rows side by side
LLOYD = 12  # rounds that fit a code book
SUBSET = 4_096  # Gaussians that are compared with the palette at once
MAX_SIDE = 16_384  # pixels of a WebP
BANDS = {3: 1, 8: 2, 15: 3}  # harmonics above degree 0 -> degree


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians with harmonics."""
    columns = columns_of(gaussians)
    columns = columns.rows(morton_order(columns.means))
    n = len(columns)
    width = max(4, math.ceil(math.sqrt(n) / 4) * 4)
    logs = np.sign(columns.means) * np.log1p(np.abs(columns.means.astype(np.float64)))
    low, high = logs.min(0), logs.max(0)
    levels = np.round((logs - low) / np.maximum(high - low, 1e-12) * 65_535).astype(np.uint32)
    largest, others = largest_of(columns.quats)
    turns = np.clip(np.round((others * math.sqrt(2) * 0.5 + 0.5) * 255), 0, 255)
    sizes, size_book = _coded(np.log(columns.scales))
    colors, color_book = _coded(columns.sh[:, 0])
    alphas = np.round(255 * columns.opacities)
    planes = {
        "means_l.webp": _plane(levels & 255, width),
        "means_u.webp": _plane(levels >> 8, width),
        "scales.webp": _plane(sizes, width),
        "quats.webp": _plane(np.column_stack([turns, 252 + largest]), width),
        "sh0.webp": _plane(np.column_stack([colors, alphas]), width),
    }
    meta = {
        "version": 2,
        "count": n,
        "antialias": antialiased,
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": list(planes)[:2]},
        "scales": {"codebook": size_book, "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": color_book, "files": ["sh0.webp"]},
    }
    if columns.degree:
        palette, labels = _palette(columns.sh[:, 1:].reshape(n, -1))
        codes, book = _coded(palette)
        codes = codes.reshape(len(palette), -1, 3)
        planes["shN_centroids.webp"] = _palette_plane(codes)
        planes["shN_labels.webp"] = _plane(
            np.column_stack([labels & 255, labels >> 8, 0 * labels]), width
        )
        meta["shN"] = {
            "count": len(palette), "bands": columns.degree, "codebook": book,
            "files": list(planes)[5:],
        }  # fmt: skip
    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, data in {"meta.json": json.dumps(meta).encode(), **planes}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def read_one(path: Path) -> Gaussians:
    """What `write_one` wrote; InputError names a file that is damaged or of another version."""
    data = read_bytes(path)
    with reading(path, "a SOG file"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        meta = json.loads(_entry(archive, "meta.json", 2**20))
        n = meta["count"]
        if meta["version"] != 2 or not 0 < n <= MAX_SIDE**2:
            raise ValueError(f"version {meta['version']}, {n} Gaussians")

        def plane(part: str, k: int = 0) -> NDArray:
            return _pixels(_entry(archive, meta[part]["files"][k], len(data)))

        def rows(part: str, k: int = 0) -> NDArray:
            found = plane(part, k).reshape(-1, 4)
            if len(found) < n:
                raise ValueError(f"{part} has {len(found)} pixels for {n} Gaussians")
            return found[:n]

        low, high = (np.array(meta["means"][end], np.float64) for end in ("mins", "maxs"))
        levels = rows("means")[:, :3] + 256.0 * rows("means", 1)[:, :3]
        logs = low + (high - low) * levels / 65_535
        turns, colors = rows("quats"), rows("sh0")
        others = (turns[:, :3] / 255.0 - 0.5) * math.sqrt(2)
        sh = np.array(meta["sh0"]["codebook"])[colors[:, :3]][:, None]
        if "shN" in meta:
            sh = np.concatenate([sh, _rest(meta["shN"], plane("shN"), rows("shN", 1))], axis=1)
        return gaussians_of(
            Columns(
                np.sign(logs) * np.expm1(np.abs(logs)),
                with_largest(turns[:, 3].astype(int) - 252, others),
                np.exp(np.array(meta["scales"]["codebook"])[rows("scales")[:, :3]]),
                colors[:, 3] / 255.0,
                sh,
            )
        )


def _rest(meta: dict, centroids: NDArray, labels: NDArray) -> NDArray:
    """(N, K, 3) harmonics above degree 0."""
    per_row = centroids.shape[1] // ACROSS
    if BANDS.get(per_row) != meta["bands"]:
        raise ValueError(f"a palette {centroids.shape[1]} pixels wide for {meta['bands']} bands")
    codes = centroids[..., :3].reshape(-1, per_row, 3)
    return np.array(meta["codebook"])[codes[labels[:, 0] + 256 * labels[:, 1].astype(int)]]


def _coded(values: NDArray) -> tuple[NDArray, list[float]]:
    """(indices of the values' shape, 256 ascending numbers): Lloyd's algorithm from quantiles and
    even steps, half of each, so that rare large values have neighbours, too."""
    flat = np.sort(values.astype(np.float64).ravel())
    quantiles = flat[np.linspace(0, len(flat) - 1, BOOK // 2).astype(int)]
    book = np.sort(np.concatenate([quantiles, np.linspace(flat[0], flat[-1], BOOK // 2)]))
    for _ in range(LLOYD):
        ends = np.searchsorted(flat, (book[1:] + book[:-1]) / 2)
        edges = np.concatenate([[0], ends, [len(flat)]])
        sums = np.concatenate([[0.0], np.cumsum(flat)])[edges]
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums) / np.maximum(counts, 1), book)
    book = np.sort(book)
    return np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.uint8), book.tolist()


def _palette(rest: NDArray) -> tuple[NDArray, NDArray]:
    """(rows (M, K), label (N,) of each Gaussian's): all of them where they fit; else as many drawn
    at random, each moved once to the mean of those it is nearest to."""
    if len(rest) <= PALETTE:
        return rest, np.arange(len(rest))
    chosen = np.random.default_rng(0).choice(len(rest), PALETTE, replace=False)
    palette = rest[np.sort(chosen)]
    labels = _nearest(rest, palette)
    sums = np.zeros(palette.shape)
    np.add.at(sums, labels, rest)
    counts = np.bincount(labels, minlength=PALETTE)[:, None]
    return np.where(counts > 0, sums / np.maximum(counts, 1), palette).astype(np.float32), labels


def _nearest(rest: NDArray, palette: NDArray) -> NDArray:
    half = np.square(palette).sum(1) / 2
    starts = range(0, len(rest), SUBSET)
    return np.concatenate([(half - rest[k : k + SUBSET] @ palette.T).argmin(1) for k in starts])


def _plane(values: NDArray, width: int) -> bytes:
    """WebP of (N, 3 or 4) bytes, a pixel a row."""
    height = math.ceil(len(values) / width / 4) * 4
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(values), : values.shape[1]] = values
    return _webp(pixels.reshape(height, width, 4))


def _palette_plane(codes: NDArray) -> bytes:
    m, per_row, _ = codes.shape
    height = math.ceil(m / ACROSS)
    pixels = np.zeros((height * ACROSS, per_row, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[:m, :, :3] = codes
    return _webp(pixels.reshape(height, ACROSS * per_row, 4))


def _webp(pixels: NDArray) -> bytes:
    file = io.BytesIO()
    # exact: colours under a transparent pixel are numbers, too
    Image.fromarray(pixels, "RGBA").save(file, "WEBP", lossless=True, exact=True, quality=100)
    return file.getvalue()


def _pixels(data: bytes) -> NDArray:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
        if max(picture.size) > MAX_SIDE:
            raise ValueError(f"a plane of {picture.size[0]}x{picture.size[1]} pixels")
        return np.array(picture.convert("RGBA"))


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} unpacks to more than {limit:,} bytes")
    return archive.read(name)
