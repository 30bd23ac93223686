"""Head model files in FLAME's layout, made from the toy head with fake chumpy and scipy records."""

import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from scene.head.files import FREE_HEAD, load_head_model, save_head_model
from scene.head.landmarks import dynamic_landmarks, landmarks
from scene.head.model import pose_head
from scripts.demo.toy_head import toy_head
from tests.border import refused_cheaply
from utils.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its text, as FLAME's files have them."""

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}


def dump_like_python2(value, path):
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(value)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


@pytest.fixture
def foreign(monkeypatch):
    """Classes that pickle as chumpy's and as an old scipy's, though neither is what they are."""
    fakes = {}
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    for module, name in (("chumpy.ch", "Ch"), ("scipy.sparse.csc", "csc_matrix")):
        fake = types.ModuleType(module)
        cls = type(name, (), {"__module__": module})
        setattr(fake, name, cls)
        monkeypatch.setitem(sys.modules, module, fake)
        fakes[name] = cls

    def make(name, **state):
        record = fakes[name]()
        record.__dict__.update(state)
        return record

    return make


@pytest.fixture(scope="module")
def model():
    return toy_head()


def flame_tree(model, foreign):
    """The toy head as FLAME 2020's file has it: 300 identity and 100 expression columns."""
    shapes = np.zeros((len(model.template), 3, 400))
    shapes[..., :100], shapes[..., 300:350] = (
        model.shape_basis.numpy(),
        model.expression_basis.numpy(),
    )
    regressor = model.joint_regressor.numpy().astype(float)
    columns, rows = np.nonzero(regressor.T)
    starts = np.append(0, np.bincount(columns, minlength=regressor.shape[1]).cumsum())
    sparse = foreign(
        "csc_matrix",
        data=regressor[rows, columns],
        indices=rows.astype(np.int32),
        indptr=starts.astype(np.int32),
        _shape=regressor.shape,
    )
    parents = np.array([model.parents, range(5)], dtype=np.int64).astype(np.uint32)
    return {
        "v_template": foreign("Ch", x=model.template.numpy().astype(float), _dirty=True),
        "f": model.faces.numpy().astype(np.uint32),
        "shapedirs": foreign("Ch", x=shapes),
        "posedirs": model.pose_basis.numpy().astype(float),
        "J_regressor": sparse,
        "J": np.zeros((5, 3)),
        "kintree_table": parents,
        "weights": model.skin_weights.numpy().astype(float),
        "bs_style": b"lbs",
        "bs_type": b"lrotmin",
    }


def test_flame_pickle_poses_as_the_model_it_was_made_from(model, foreign, tmp_path):
    path = tmp_path / "generic_model.pkl"
    dump_like_python2(flame_tree(model, foreign), path)
    loaded = load_head_model(path)
    assert loaded.shape_basis.shape[-1] == 300
    assert loaded.expression_basis.shape[-1] == 100
    assert loaded.parents == model.parents
    pose = 0.3 * torch.randn(15, generator=torch.Generator().manual_seed(0))
    shape, expression = torch.ones(100), torch.linspace(0, 1, 50)
    again = pose_head(loaded, pose, shape=shape, expression=expression)
    expected = pose_head(model, pose, shape=shape, expression=expression)
    torch.testing.assert_close(again.vertices, expected.vertices)


def test_neither_chumpy_nor_scipy_is_imported(model, foreign, tmp_path):
    path = tmp_path / "generic_model.pkl"
    dump_like_python2(flame_tree(model, foreign), path)
    code = (
        "import sys; from pathlib import Path; from scene.head.files import load_head_model\n"
        "load_head_model(Path(sys.argv[1]))\n"
        "assert not {m.split('.')[0] for m in sys.modules} & {'chumpy', 'scipy'}"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def npz_tree(model):
    shapes = torch.cat((model.shape_basis, model.expression_basis), -1).numpy()
    return {
        "v_template": model.template.numpy(),
        "f": model.faces.numpy(),
        "shapedirs": shapes,
        "expression_start": np.array(100),
        "posedirs": model.pose_basis.numpy(),
        "J_regressor": model.joint_regressor.numpy(),
        "kintree_table": np.array([model.parents, range(5)]),
        "weights": model.skin_weights.numpy(),
    }


def test_saved_model_comes_back_whole(model, tmp_path):
    path = tmp_path / "head.npz"
    save_head_model(model, path)
    loaded = load_head_model(path)
    assert loaded.fingerprint() == model.fingerprint()
    assert loaded.expression_names == model.expression_names
    assert loaded.jaw_open_angle == model.jaw_open_angle
    torch.testing.assert_close(loaded.eyelids, model.eyelids)
    torch.testing.assert_close(loaded.masks["left_eyeball"], model.masks["left_eyeball"])
    pose = torch.tensor([0.0] * 4 + [0.3] + [0.0] * 10)
    for sign in (1, -1):
        a, b = (dynamic_landmarks(m, m.template, pose, yaw_sign=sign) for m in (loaded, model))
        torch.testing.assert_close(a, b)


def test_saving_twice_gives_the_same_bytes(model, tmp_path):
    for name in ("a.npz", "b.npz"):
        save_head_model(model, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def nan_in(array):
    return np.where(np.arange(array.size).reshape(array.shape) == 5, np.nan, array)


FAULTS = {
    "no template": (lambda t: t.pop("v_template"), "no 'v_template' among"),
    "NaN": (lambda t: t.update(shapedirs=nan_in(t["shapedirs"])), "'shapedirs' has NaN"),
    "two columns": (
        lambda t: t.update(v_template=t["v_template"][:, :2]),
        "'v_template' has shape",
    ),
    "vertex beyond": (lambda t: t.update(f=t["f"] + 100), "'f' has entries out of range"),
    "negative vertex": (lambda t: t.update(f=t["f"] - 1), "'f' has entries out of range"),
    "fractional face": (lambda t: t.update(f=t["f"] + 0.5), "'f' has entries out of range"),
    "other count": (lambda t: t.update(weights=t["weights"][:-1]), "'weights' has shape"),
    "weights of 2": (lambda t: t.update(weights=2 * t["weights"]), "'weights' has rows that sum"),
    "regressor of 0": (
        lambda t: t.update(J_regressor=0 * t["J_regressor"]),
        "'J_regressor' has rows that sum",
    ),
    "too few shapes": (lambda t: t.pop("expression_start"), "'shapedirs' has 150 columns"),
    "child first": (
        lambda t: t.update(kintree_table=np.array([[-1, 2, 1, 1, 1], range(5)])),
        "each before its children",
    ),
    "24 joints": (lambda t: t.update(kintree_table=np.zeros((2, 24))), r"\(2, 24\)"),
    "text": (lambda t: t.update(posedirs=np.array("none")), "'posedirs' has the type"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_arrays_are_named(model, fault, tmp_path):
    break_it, message = FAULTS[fault]
    arrays = npz_tree(model)
    break_it(arrays)
    path = tmp_path / "head.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as error:
        load_head_model(path)
    assert str(path) in str(error.value)


def test_missing_model_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match=r"generic_model.pkl: .*make_head_model.py"):
        load_head_model(tmp_path / "generic_model.pkl")


@pytest.mark.long
def test_a_file_of_many_names_is_one_short_line(tmp_path):
    path = tmp_path / "head.pkl"
    path.write_bytes(pickle.dumps(dict.fromkeys(range(99_000)), 2))
    said = "no 'v_template' among 0, 1, 10, .* is it a head model"
    refused_cheaply(lambda: load_head_model(path), said, path.stat().st_size)


def test_chumpy_formula_is_refused(foreign, tmp_path):
    path = tmp_path / "generic_model.pkl"
    dump_like_python2({"v_template": foreign("Ch", a=np.eye(3), idxs=np.arange(3))}, path)
    with pytest.raises(InputError, match="is a formula and not an array"):
        load_head_model(path)


def embedding(count, seed=0):
    """The landmark file of DECA's family: a dict in an object array, two of its arrays torch's."""
    rng = np.random.default_rng(seed)

    def weights(*shape):
        drawn = rng.random((*shape, 3))
        return drawn / drawn.sum(-1, keepdims=True)

    return {
        "static_lmk_faces_idx": rng.integers(1000, size=count - 17),
        "static_lmk_bary_coords": weights(count - 17),
        "dynamic_lmk_faces_idx": torch.from_numpy(rng.integers(1000, size=(79, 17))),
        "dynamic_lmk_bary_coords": torch.from_numpy(weights(79, 17)).float(),
        "full_lmk_faces_idx": rng.integers(1000, size=(1, count)),
        "full_lmk_bary_coords": weights(1, count).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("name", "count"), [("landmark_embedding.npy", 68), ("landmark_embedding_with_eyes.npy", 70)]
)
def test_landmark_file_beside_the_model_is_read(model, name, count, tmp_path):
    np.savez(tmp_path / "flame.npz", **npz_tree(model))
    asset = embedding(count)
    np.save(tmp_path / name, np.array(asset, dtype=object))
    loaded = load_head_model(tmp_path / "flame.npz")
    assert landmarks(loaded, loaded.template).shape == (count, 3)
    np.testing.assert_array_equal(loaded.landmarks.faces, asset["full_lmk_faces_idx"][0])
    np.testing.assert_array_equal(loaded.landmarks.contour_faces, asset["dynamic_lmk_faces_idx"])
    np.testing.assert_array_equal(
        loaded.landmarks.contour_weights, asset["dynamic_lmk_bary_coords"]
    )


def test_ringnets_pair_of_landmark_files_is_read(model, tmp_path):
    np.savez(tmp_path / "flame.npz", **npz_tree(model))
    asset = embedding(68)
    static = {
        "lmk_face_idx": asset["static_lmk_faces_idx"].astype(np.uint32),
        "lmk_b_coords": asset["static_lmk_bary_coords"],
    }
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(static, 2))
    dynamic = {
        "lmk_face_idx": [np.asarray(row, np.uint32) for row in asset["dynamic_lmk_faces_idx"]],
        "lmk_b_coords": [np.asarray(row, float) for row in asset["dynamic_lmk_bary_coords"]],
    }
    np.save(tmp_path / "flame_dynamic_embedding.npy", np.array(dynamic, dtype=object))
    loaded = load_head_model(tmp_path / "flame.npz")
    np.testing.assert_array_equal(loaded.landmarks.faces[17:], asset["static_lmk_faces_idx"])
    np.testing.assert_array_equal(loaded.landmarks.faces[:17], asset["dynamic_lmk_faces_idx"][0])


def test_masks_eyelids_and_texture_layout_are_found_in_the_assets_folder(model, tmp_path):
    assets = tmp_path / "assets"
    assets.mkdir()
    np.savez(tmp_path / "flame.npz", **npz_tree(model))
    (assets / "FLAME_masks.pkl").write_bytes(pickle.dumps({"lips": np.array([3, 5, 8])}, 2))
    for side, lid in zip("lr", model.eyelids.numpy(), strict=True):
        np.save(assets / f"{side}_eyelid.npy", lid.astype(float))
    corners = "\n".join(f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in model.faces.tolist())
    (assets / "head_template_mesh.obj").write_text(f"vt 0 0\nvt 1 0\nvt 0 1\n{corners}\n")
    loaded = load_head_model(tmp_path / "flame.npz", assets=assets)
    assert loaded.masks["lips"].tolist() == [3, 5, 8]
    torch.testing.assert_close(loaded.eyelids, model.eyelids)
    assert loaded.uv.shape == (3, 2)
    assert (loaded.uv_faces == torch.tensor([0, 1, 2])).all()


def test_landmark_file_of_another_mesh_is_refused(model, tmp_path):
    np.savez(tmp_path / "flame.npz", **npz_tree(model))
    asset = embedding(68) | {"full_lmk_faces_idx": np.full((1, 68), 9975)}
    np.save(tmp_path / "landmark_embedding.npy", np.array(asset, dtype=object))
    with pytest.raises(InputError, match=r"landmark_embedding.npy: 'full_lmk_faces_idx'"):
        load_head_model(tmp_path / "flame.npz")


@pytest.mark.skipif(
    "FLAME_MODEL" not in os.environ, reason="no FLAME file of your own; set FLAME_MODEL"
)
def test_users_own_flame_file_loads_and_poses():
    model = load_head_model(Path(os.environ["FLAME_MODEL"]))
    posed = pose_head(model, torch.zeros(15))
    torch.testing.assert_close(posed.vertices, model.template, atol=1e-5, rtol=0)


@pytest.mark.skipif(
    not FREE_HEAD.is_file(), reason="no free head; run python scripts/make_head_model.py"
)
def test_free_head_loads_with_all_its_parts():
    model = load_head_model(FREE_HEAD)
    assert len(model.expression_names) == 50
    assert len(model.landmarks.faces) == 70
    assert model.uv is not None
    assert model.colors is not None
