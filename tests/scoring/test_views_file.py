import json

import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scoring.views_file import ViewsFile, read_views, view_name, write_views
from utils.errors import InputError

BOX = torch.tensor([[-0.2, -0.1, 1.0], [0.2, 0.3, 2.0]])  # columns 30 to 70, rows 30 to 70
CAMERA = Camera(torch.eye(4), intrinsics(100.0, 100.0, 50.0, 40.0), 100, 80)


def frames(tmp_path):
    away = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0]))
    return [
        Frame(CAMERA, 3, 0.25, tmp_path / "a.png"),
        Frame(CAMERA, 4, 0.5, head_to_world=away),
    ]


def test_what_was_written_is_read_back(tmp_path):
    timing = {"posed_and_drawn_fps": 12.5, "drawn_fps": 50.0}
    write_views(tmp_path, frames(tmp_path), {"mouth": BOX}, fps=25.0, timing=timing)
    expected = {"00000.png": {"mouth": (30, 30, 70, 70)}, "00001.png": {}}
    assert read_views(tmp_path) == ViewsFile(25.0, timing, expected)


def test_every_view_says_its_picture_moment_and_camera(tmp_path):
    write_views(tmp_path, frames(tmp_path), {}, fps=25.0, timing={})
    first, second = json.loads((tmp_path / "views.json").read_text())["views"]
    assert (first["name"], second["name"]) == (view_name(0), view_name(1))
    assert (first["picture"], second["picture"]) == (str(tmp_path / "a.png"), None)
    assert (first["moment"], first["time"]) == (3, 0.25)
    assert first["camera"] == {
        "viewmat": torch.eye(4).tolist(),
        "K": [[100.0, 0.0, 50.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]],
        "width": 100,
        "height": 80,
    }


def test_the_file_of_older_versions_is_read_where_there_is_no_other(tmp_path):
    (tmp_path / "regions.json").write_text('{"00000.png": {"mouth": [1, 2, 3, 4]}}')
    assert read_views(tmp_path).regions == {"00000.png": {"mouth": (1, 2, 3, 4)}}
    timing = {"posed_and_drawn_fps": 12.5, "drawn_fps": 50.0}
    write_views(tmp_path, frames(tmp_path), {"mouth": BOX}, fps=25.0, timing=timing)
    assert read_views(tmp_path).regions["00000.png"] == {"mouth": (30, 30, 70, 70)}


def test_without_either_nothing_is_known(tmp_path):
    assert read_views(tmp_path) == ViewsFile(30.0, {}, {})


@pytest.mark.parametrize(
    "content",
    [
        "[1]",
        "{}",
        '{"fps": "x", "timing": {}, "views": []}',
        '{"fps": 25, "timing": {}, "views": [{"name": "a.png"}]}',
        '{"fps": 25, "timing": {}, "views": '
        '[{"name": "a.png", "regions": {"mouth": [4, 4, 2, 8]}}]}',
        '{"fps": 25, "timing": [1], "views": []}',
        '{"fps": 25',
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path, content):
    (tmp_path / "views.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_views(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'views.json'}: ")
    assert len(str(caught.value).splitlines()) == 1
