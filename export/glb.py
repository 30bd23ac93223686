"""`.glb`: glTF 2.0 with KHR_gaussian_splatting, ratified 2026: floats, nothing lost.

y up, z towards the viewer, as glTF has it.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.axes import Y_UP
from export.columns import Columns, columns_of, gaussians_of
from scene.gaussian_model import Gaussians
from utils.files import read_bytes, reading, replacing

AXES, MOVES = Y_UP, False
NAME = "KHR_gaussian_splatting"
MAGIC, VERSION, JSON, BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
FLOAT, POINTS = 5126, 0
KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
WIDTHS = {kind: width for width, kind in KINDS.items()}


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians with harmonics; COLOR_0 is what viewers without the extension show."""
    columns = columns_of(gaussians)
    rgb = np.clip(columns.rgb, 0, 1)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    attributes = {
        "POSITION": columns.means,
        "COLOR_0": np.column_stack([linear, columns.opacities]),
        f"{NAME}:ROTATION": columns.quats[:, [1, 2, 3, 0]],
        f"{NAME}:SCALE": columns.scales,
        f"{NAME}:OPACITY": columns.opacities[:, None],
        **{_coefficient(k): columns.sh[:, k] for k in range(columns.sh.shape[1])},
    }
    blocks = [np.ascontiguousarray(values, "<f4") for values in attributes.values()]
    starts = np.cumsum([0, *(block.nbytes for block in blocks)]).tolist()
    document = {
        "asset": {"version": "2.0", "generator": "gaussian-4d-toolkit"},
        "extensionsUsed": [NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{
            "mode": POINTS,
            "attributes": {name: k for k, name in enumerate(attributes)},
            "extensions": {NAME: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
        }]}],
        "buffers": [{"byteLength": starts[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": block.nbytes}
            for start, block in zip(starts, blocks, strict=False)
        ],
        "accessors": [
            {"bufferView": k, "componentType": FLOAT, "count": len(block),
             "type": KINDS[block.shape[1]]}
            for k, block in enumerate(blocks)
        ],
    }  # fmt: skip
    ends = {"min": columns.means.min(0).tolist(), "max": columns.means.max(0).tolist()}
    document["accessors"][0] |= ends
    with replacing(path) as part:
        part.write_bytes(_glb(document, b"".join(block.tobytes() for block in blocks)))


def read_one(path: Path) -> Gaussians:
    """The first splat primitive of a file as `write_one` writes it: floats, one buffer.

    Raises InputError for a file that is damaged or has its numbers in another form.
    """
    data = read_bytes(path)
    with reading(path, f"a GLB with {NAME}"):
        document, buffer = _parts(data)
        (primitive,) = document["meshes"][0]["primitives"]
        if NAME not in primitive["extensions"]:
            raise ValueError(f"its mesh has no {NAME}")
        found = {n: _accessor(document, buffer, k) for n, k in primitive["attributes"].items()}
        n_sh = sum(":SH_" in name for name in found)
        return gaussians_of(
            Columns(
                found["POSITION"],
                found[f"{NAME}:ROTATION"][:, [3, 0, 1, 2]],
                found[f"{NAME}:SCALE"],
                found[f"{NAME}:OPACITY"][:, 0],
                np.stack([found[_coefficient(k)] for k in range(n_sh)], axis=1),
            )
        )


def _coefficient(k: int) -> str:
    degree = int(k**0.5)
    return f"{NAME}:SH_DEGREE_{degree}_COEF_{k - degree**2}"


def _glb(document: dict, buffer: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    buffer += bytes(-len(buffer) % 4)
    chunks = [(JSON, text), (BIN, buffer)]
    size = 12 + sum(8 + len(chunk) for _, chunk in chunks)
    head = struct.pack("<III", MAGIC, VERSION, size)
    return head + b"".join(struct.pack("<II", len(c), kind) + c for kind, c in chunks)


def _parts(data: bytes) -> tuple[dict, bytes]:
    magic, version, size = struct.unpack_from("<III", data)
    if (magic, version) != (MAGIC, VERSION) or size != len(data):
        raise ValueError(f"magic {magic:08x}, version {version}, {size} of {len(data)} bytes")
    parts, at = {}, 12
    while at < size:
        length, kind = struct.unpack_from("<II", data, at)
        parts[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return json.loads(parts[JSON]), parts[BIN]


def _accessor(document: dict, buffer: bytes, k: int) -> NDArray:
    accessor = document["accessors"][k]
    view = document["bufferViews"][accessor["bufferView"]]
    if accessor["componentType"] != FLOAT or "byteStride" in view:
        raise ValueError(f"accessor {k} is not of packed floats")
    width = WIDTHS[accessor["type"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    values = np.frombuffer(buffer, "<f4", accessor["count"] * width, start)
    return values.reshape(-1, width)
