from dataclasses import replace

from arguments import parse_train_args
from scene import load_scene, short
from tests.tiny_scene import write_tiny_scene


def test_is_debug_keeps_the_first_training_frames_and_the_last_of_the_others(tmp_path):
    folder = write_tiny_scene(tmp_path / "tiny")
    settings = parse_train_args(["-s", str(folder), "--is_debug"])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    assert (len(scene.train), len(scene.test), len(scene.video)) == (
        12,
        3,
        50,
    )  # 12 and 3 are few already
    long = replace(scene, train=scene.train * 10, test=scene.test * 30)
    found = short(long)
    assert found.train == long.train[:50]
    assert found.test == long.test[-50:]
