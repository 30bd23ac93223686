"""Head models from files: the user's own FLAME (2020, 2023, 2023 Open), or the free stand-in.

Read as data only (scene/head/array_files.py): a file with code in it is refused. The files that
FLAME's users keep beside the model (landmarks, masks, eyelids, texture layout) are found by their
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene.head.array_files import read_array_file
from scene.head.model import JOINTS, HeadModel, Landmarks
from utils.errors import InputError
from utils.files import read_bytes, reading, replacing, short

FREE_HEAD = Path(__file__).resolve().parents[2] / "data" / "models" / "free_head.npz"
HOW_TO_GET = "run python scripts/make_head_model.py for a free one"
FLAME_IDENTITIES = 300  # columns of shapedirs before the expressions, in every release of FLAME
MAX_VERTICES = 1_000_000
MAX_MESH = 2**26  # bytes of the mesh with the texture layout; FLAME's has 1.6 MB
POSE_FEATURES = 9 * (len(JOINTS) - 1)
LANDMARK_FILES = ("landmark_embedding_with_eyes.npy", "landmark_embedding.npy")
RINGNET_FILES = ("flame_static_embedding.pkl", "flame_dynamic_embedding.npy")
MASK_FILE, TEMPLATE_FILE = "FLAME_masks.pkl", "head_template_mesh.obj"
EYELID_FILES = ("l_eyelid.npy", "r_eyelid.npy")


def load_head_model(path: Path, *, assets: Path | None = None) -> HeadModel:
    """Read a head model, float32, from FLAME's .pkl, an .npz with the same keys, or the stand-in.

    Args:
        assets: folder with the companion files; the model's own folder where None. What is not
            there is None or empty in the model.

    Raises:
        InputError: naming the file, what it has, what was expected and what to do.
    """
    if not path.is_file():
        raise InputError(f"{path}: no head model there; {HOW_TO_GET}")
    with reading(path, "a head model", HOW_TO_GET):
        return _assembled(path, assets or path.parent)


def _assembled(path: Path, assets: Path) -> HeadModel:
    tree = _Tree(path, read_array_file(path))
    template = tree.floats("v_template", ("V", 3))
    count = len(template)
    if not 4 <= count <= MAX_VERTICES:
        raise tree.wrong("v_template", f"{count} vertices", f"4 to {MAX_VERTICES:,}")
    faces = tree.indices("f", count)
    shapes = tree.floats("shapedirs", (count, 3, "S"))
    start = _expression_start(tree, shapes.shape[-1])
    uv, uv_faces = _texture_layout(tree, assets, len(faces))
    return HeadModel(
        template=template,
        faces=faces,
        shape_basis=shapes[..., :start],
        expression_basis=shapes[..., start:],
        pose_basis=tree.floats("posedirs", (count, 3, POSE_FEATURES)),
        joint_regressor=tree.averages("J_regressor", (len(JOINTS), count)),
        skin_weights=tree.averages("weights", (count, len(JOINTS))),
        parents=_parents(tree),
        landmarks=_landmarks(tree, assets, len(faces)),
        masks=_masks(tree, assets, count),
        uv=uv,
        uv_faces=uv_faces,
        colors=tree.optional_floats("vertex_colors", (count, 3)),
        eyelids=_eyelids(tree, assets, count),
        expression_names=tuple(str(n) for n in tree.arrays.get("expression_names", ())),
        jaw_open_angle=tree.number("jaw_open_angle"),
        licence=str(tree.arrays.get("licence", "")),
    )


def save_head_model(model: HeadModel, path: Path, *, basis_dtype: str = "float32") -> None:
    """Write `model` as one .npz with FLAME's key names that `load_head_model` reads.

    The same model gives the same bytes. A file made from a FLAME model stays under FLAME's licence.
    """
    basis = torch.cat((model.shape_basis, model.expression_basis), -1)
    arrays = {
        "v_template": model.template,
        "f": model.faces.to(torch.int32),
        "shapedirs": basis.numpy().astype(basis_dtype),
        "expression_start": np.array(model.shape_basis.shape[-1]),
        "posedirs": model.pose_basis,
        "J_regressor": model.joint_regressor,
        "weights": model.skin_weights,
        "kintree_table": np.array([model.parents, range(len(model.parents))]),
        "expression_names": np.array(model.expression_names, dtype=str),
        "jaw_open_angle": np.array(
            np.nan if model.jaw_open_angle is None else model.jaw_open_angle
        ),
        "licence": np.array(model.licence),
        **{f"mask_{name}": ids.to(torch.int32) for name, ids in model.masks.items()},
    }
    if model.landmarks is not None:
        arrays |= {"full_lmk_faces_idx": model.landmarks.faces}
        arrays |= {"full_lmk_bary_coords": model.landmarks.weights}
        arrays |= {"dynamic_lmk_faces_idx": model.landmarks.contour_faces}
        arrays |= {"dynamic_lmk_bary_coords": model.landmarks.contour_weights}
    arrays |= {"vt": model.uv, "ft": model.uv_faces, "vertex_colors": model.colors}
    if model.eyelids is not None:
        lids = model.eyelids.numpy().astype(basis_dtype)
        arrays |= {"l_eyelid": lids[0], "r_eyelid": lids[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: _plain(value) for name, value in arrays.items() if value is not None}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **kept)


def _plain(value: object) -> np.ndarray:
    array = np.asarray(value)
    return array + array.dtype.type(0) if array.dtype.kind == "f" else array  # -0 becomes 0


class _Tree:
    """The named arrays of one file, with the checks that every one of them needs."""

    def __init__(self, path: Path, arrays: object):
        if not isinstance(arrays, Mapping):
            raise InputError(
                f"{path}: holds {type(arrays).__name__}, expected named arrays; {HOW_TO_GET}"
            )
        self.path = path
        self.arrays = arrays

    def wrong(self, key: str, found: str, expected: str) -> InputError:
        return InputError(
            f"{self.path}: '{key}' has {found}, expected {expected}; is it the right file?"
        )

    def get(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            there = short(", ".join(sorted(str(k) for k in self.arrays)) or "nothing")
            raise InputError(f"{self.path}: no '{key}' among {there}; is it a head model?")
        try:
            array = np.asarray(self.arrays[key])
        except ValueError as error:
            raise self.wrong(key, "rows of unequal length", "an array") from error
        if array.dtype.kind not in "biuf":
            raise self.wrong(key, f"the type {array.dtype}", "numbers")
        return array

    def floats(self, key: str, shape: tuple[int | str, ...]) -> Tensor:
        """A finite float32 array; letters in `shape` stand for any length."""
        array = self.get(key)
        lengths = zip(array.shape, shape, strict=False)
        if array.ndim != len(shape) or any(isinstance(n, int) and n != m for m, n in lengths):
            raise self.wrong(key, f"shape {array.shape}", f"({', '.join(map(str, shape))})")
        values = array.astype(np.float32)
        if not np.isfinite(values).all():
            raise self.wrong(key, "NaN or infinite values", "finite ones")
        return torch.from_numpy(values)

    def optional_floats(self, key: str, shape: tuple[int | str, ...]) -> Tensor | None:
        return self.floats(key, shape) if key in self.arrays else None

    def indices(self, key: str, limit: int, shape: tuple[int | str, ...] = ("F", 3)) -> Tensor:
        """Whole numbers from 0 to below `limit`, as int64."""
        array = self.get(key)
        lengths = zip(array.shape, shape, strict=False)
        if array.ndim != len(shape) or any(isinstance(n, int) and n != m for m, n in lengths):
            raise self.wrong(key, f"shape {array.shape}", f"({', '.join(map(str, shape))})")
        if array.dtype.kind == "f" or (array.size and not 0 <= array.min() <= array.max() < limit):
            raise self.wrong(key, "entries out of range", f"whole numbers from 0 to {limit - 1}")
        return torch.from_numpy(array.astype(np.int64))

    def averages(self, key: str, shape: tuple[int | str, ...]) -> Tensor:
        """Weights whose rows sum to 1."""
        weights = self.floats(key, shape)
        self.check_sums(key, weights.sum(-1))
        return weights

    def check_sums(self, key: str, sums: Tensor) -> None:
        if (sums - 1).abs().max() > 1e-2:
            raise self.wrong(key, f"rows that sum to {sums.min():.3f} ... {sums.max():.3f}", "1")

    def number(self, key: str) -> float | None:
        """One number; None where there is none, or NaN."""
        if key not in self.arrays:
            return None
        array = self.get(key)
        if array.ndim:
            raise self.wrong(key, f"shape {array.shape}", "one number")
        return None if np.isnan(array) else float(array)


def _expression_start(tree: _Tree, columns: int) -> int:
    if "expression_start" in tree.arrays:
        return int(tree.indices("expression_start", columns + 1, ()))
    if columns <= FLAME_IDENTITIES:
        raise tree.wrong(
            "shapedirs", f"{columns} columns", f"more than {FLAME_IDENTITIES}, expressions last"
        )
    return FLAME_IDENTITIES


def _parents(tree: _Tree) -> tuple[int, ...]:
    """Row 0 of kintree_table; the root's entry is -1, or 2^32 - 1 where it was kept unsigned."""
    table = tree.get("kintree_table")
    if table.shape != (2, len(JOINTS)):
        raise tree.wrong("kintree_table", f"shape {table.shape}", f"(2, {len(JOINTS)})")
    parents = [-1, *(int(parent) for parent in table[0, 1:])]
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        raise tree.wrong("kintree_table", f"parents {parents}", "each before its children")
    return tuple(parents)


def _companion(assets: Path, name: str) -> _Tree:
    return _Tree(assets / name, read_array_file(assets / name))


def _landmarks(model: _Tree, assets: Path, n_faces: int) -> Landmarks | None:
    """From the model's own file, DECA's landmark file, or RingNet's pair of files."""
    found = next((name for name in LANDMARK_FILES if (assets / name).is_file()), None)
    own = "full_lmk_faces_idx" in model.arrays
    if not own and found is None:
        if not all((assets / name).is_file() for name in RINGNET_FILES):
            return None
        static, dynamic = (_companion(assets, name) for name in RINGNET_FILES)
        inner = _embedding(static, "lmk_face_idx", "lmk_b_coords", n_faces, ("L",))
        contour = _embedding(dynamic, "lmk_face_idx", "lmk_b_coords", n_faces, (79, 17))
        # RingNet has no contour for the front view; row 0 of the moving one is it.
        both = (torch.cat((contour[i][0], inner[i])) for i in range(2))
        return Landmarks(*both, *contour)
    tree = model if own else _companion(assets, found)
    static = "full_lmk_faces_idx", "full_lmk_bary_coords"
    shape = tree.get(static[0]).shape  # DECA's have a leading axis of length 1
    faces, weights = _embedding(tree, *static, n_faces, (*shape[:-1], "L"))
    contour = None, None
    if "dynamic_lmk_faces_idx" in tree.arrays:
        names = "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"
        contour = _embedding(tree, *names, n_faces, (79, 17))
    return Landmarks(faces.reshape(-1), weights.reshape(-1, 3), *contour)


def _embedding(
    tree: _Tree, faces_key: str, weights_key: str, n_faces: int, shape: tuple[int | str, ...]
) -> tuple[Tensor, Tensor]:
    faces = tree.indices(faces_key, n_faces, shape)
    return faces, tree.averages(weights_key, (*faces.shape, 3))


def _masks(tree: _Tree, assets: Path, count: int) -> dict[str, Tensor]:
    """Regions of the stand-in ('mask_lips'), or FLAME's own mask file."""
    own = [key for key in tree.arrays if str(key).startswith("mask_")]
    if own or not (assets / MASK_FILE).is_file():
        return {key.removeprefix("mask_"): tree.indices(key, count, ("M",)) for key in own}
    masks = _companion(assets, MASK_FILE)
    return {str(key): masks.indices(key, count, ("M",)) for key in masks.arrays}


def _eyelids(tree: _Tree, assets: Path, count: int) -> Tensor | None:
    if "l_eyelid" in tree.arrays:
        return torch.stack([tree.floats(key, (count, 3)) for key in ("l_eyelid", "r_eyelid")])
    if not all((assets / name).is_file() for name in EYELID_FILES):
        return None
    files = [_Tree(assets / n, {"eyelid": read_array_file(assets / n)}) for n in EYELID_FILES]
    return torch.stack([file.floats("eyelid", (count, 3)) for file in files])


def _texture_layout(tree: _Tree, assets: Path, n_faces: int) -> tuple[Tensor | None, Tensor | None]:
    """Texture coordinates from the model's own file, or from FLAME's template mesh."""
    if "vt" in tree.arrays:
        uv = tree.floats("vt", ("T", 2))
        return uv, tree.indices("ft", len(uv), (n_faces, 3))
    path = assets / TEMPLATE_FILE
    if not path.is_file():
        return None, None
    with reading(path, "an OBJ with texture coordinates"):
        text = read_bytes(path, MAX_MESH).decode()
        lines = [line.split() for line in text.splitlines() if line[:2] in ("vt", "f ")]
        uv = [[float(x) for x in line[1:3]] for line in lines if line[:1] == ["vt"]]
        corners = [line[1:] for line in lines if line[:1] == ["f"]]
        faces = [[int(corner.split("/")[1]) - 1 for corner in face] for face in corners]
    mesh = _Tree(path, {"vt": uv, "f": faces})
    uv = mesh.floats("vt", ("T", 2))
    return uv, mesh.indices("f", len(uv), (n_faces, 3))
