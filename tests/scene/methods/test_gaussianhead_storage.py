import numpy as np

from arguments import parse_train_args
from scene import load_scene
from tests.building import built, facts_of
from tests.tiny_scene import write_tiny_head
from training.checkpoint import Checkpoints


def floats_of_ply(file):
    """The columns of a binary PLY of floats, read by the words of its header alone."""
    header, body = file.read_bytes().split(b"end_header\n", 1)
    first, form, element, *properties = header.decode("ascii").splitlines()
    assert (first, form) == ("ply", "format binary_little_endian 1.0")
    count = int(element.removeprefix("element vertex "))
    names = [line.removeprefix("property float ") for line in properties]
    assert all(" " not in name for name in names)
    rows = np.frombuffer(body, "<f4").reshape(count, len(names))
    return dict(zip(names, rows.T, strict=True))


def test_a_head_of_the_shipped_size_takes_under_12_mib_and_other_readers_open_its_ply(tmp_path):
    folder = write_tiny_head(tmp_path / "tiny")
    shipped = ["-s", str(folder), "--configs", "arguments/nerfblendshape/gaussianhead.py"]
    rows = parse_train_args(shipped).optim.max_gaussians
    settings = parse_train_args([*shipped, "--init_points", str(rows)])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = built(scene, settings)
    for step in (1000, 2000, 3000, 5000):
        method.on_step(step)
    stage = method.stages()[-1]
    checkpoints = Checkpoints(tmp_path, [stage], settings.run, "scene")
    out = checkpoints.export(stage, stage.iterations, method, facts_of(scene, settings))
    assert sum(file.stat().st_size for file in out.iterdir()) < 12 * 2**20
    columns, shown = floats_of_ply(out / "point_cloud.ply"), method.exported()
    assert len(columns["opacity"]) == rows
    means = np.stack([columns[name] for name in "xyz"], axis=1)
    assert np.array_equal(means, shown.means.detach())
    assert np.array_equal(columns["opacity"], shown.opacities[:, 0].logit())
    colors = np.stack([columns[f"f_dc_{k}"] for k in range(3)], axis=1)
    assert np.array_equal(colors, shown.sh[:, 0])
    assert all(np.isfinite(column).all() for column in columns.values())
