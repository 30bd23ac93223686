"""view.py: one model or two, with the dataset or without."""

import json
import shutil
import struct
import threading

import cv2
import imageio.v2 as iio
import numpy as np
import pytest

from arguments import parse_model_args, parse_render_args
from arguments.settings import ViewParams
from render import render_model
from scene.camera_path import CameraPath
from tests.methods import CASES, EVERY, TWO
from utils.errors import InputError
from view import view_model
from viewer.filming import Filming

pytest.importorskip("websockets")
from websockets.sync.client import connect

pytestmark = pytest.mark.long
LOOK = {"eye": [3.0, 0, 1], "target": [0, 0, 0], "up": [0, 0, 1], "fov": 0.8}
WISH = {"id": 7, "width": 40, "height": 30, "part": 0.5, "look": LOOK, "sharp": True}


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn, the one for the tests among them."""
    return CASES[request.param]


@pytest.fixture
def folder(case, small_models):
    """A folder with `data` and a `model` of it."""
    return small_models(case)


@pytest.fixture
def look(capfd):
    """Run the command, wish once, and end it: (what the page was told, the picture, the lines)."""

    def call(model, *flags, wish=WISH):
        found, done, servers = [], threading.Event(), []
        there = threading.Event()

        def go_on(server):
            servers.append(server)
            there.set()
            return not done.is_set()

        def page():
            try:
                there.wait()
                address = servers[0].address.replace("http", "ws").replace("/?", "/socket?")
                with connect(address) as socket:
                    told = json.loads(socket.recv())
                    socket.send(json.dumps(wish))
                    data = socket.recv(timeout=60)
                length = struct.unpack_from("<I", data)[0]
                picture = cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), 1)
                found.extend([told, picture, json.loads(data[4 : 4 + length])])
            finally:
                done.set()

        argv = ["-m", str(model), "--port", "0", *map(str, flags)]
        thread = threading.Thread(target=page)
        thread.start()
        view_model(*parse_model_args("view.py", ViewParams, argv), go_on)
        thread.join()
        assert found[2] == {"id": 7}
        return found[0], found[1], capfd.readouterr().out

    return call


def test_a_model_is_shown_and_the_way_to_it_is_said(folder, look):
    told, picture, said = look(folder / "model")
    assert picture.shape == (30, 40, 3)
    assert "http://127.0.0.1:" in said
    assert "ssh -N -L" in said
    assert all(camera["pictured"] for camera in told["cameras"])


@pytest.mark.methods(*TWO)
def test_two_models_stand_side_by_side_and_equal_ones_look_equal(folder, look):
    _, picture, _ = look(folder / "model", "--beside", folder / "model", wish={**WISH, "width": 80})
    assert picture.shape == (30, 80, 3)
    assert np.abs(picture[:, :40].astype(int) - picture[:, 40:]).mean() < 1


def test_without_its_dataset_a_model_is_shown_from_the_cameras_it_knows(folder, look, tmp_path):
    model = shutil.copytree(folder / "model", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["ModelParams"]["source_path"] = "gone"
    (model / "config.json").write_text(json.dumps(config))
    told, picture, _ = look(model, wish={**WISH, "camera": 0, "split": True})
    assert told["cameras"]
    assert not any(camera["pictured"] for camera in told["cameras"])
    assert picture.shape == (30, 30, 3)  # the known camera is square, and there is no picture


@pytest.mark.methods(*TWO)
def test_a_saved_path_is_drawn_as_pictures_and_a_video(folder, tmp_path):
    model = shutil.copytree(folder / "model", tmp_path / "model")
    keys = [{"look": {**LOOK, "eye": eye}, "part": 0.5} for eye in ([3, 0, 1], [0, 3, 1])]
    path = {"version": 1, "size": [40, 30], "fps": 4, "seconds": 1, "keys": keys}
    (tmp_path / "path.json").write_text(json.dumps(path))
    flags = ["-m", str(model), "--path", str(tmp_path / "path.json"), "--quiet"]
    skip = ["--skip_train", "--skip_test", "--skip_val", "--skip_video"]
    render_model(*parse_render_args([*flags, *skip]))
    pictures = [cv2.imread(str(p)) for p in sorted(model.glob("path/ours_*/renders/*.png"))]
    assert [picture.shape for picture in pictures] == [(30, 40, 3)] * 5
    assert not np.array_equal(pictures[0], pictures[4])
    assert list(model.glob("path/ours_*/video_rgb.mp4"))


@pytest.mark.methods("fourdgs")
def test_a_path_becomes_a_video_while_others_look(folder, tmp_path):
    """A page sends two keys and wishes a picture; both come, the video whole."""
    keys = [{"look": {**LOOK, "eye": eye}, "part": 0.5} for eye in ([3, 0, 1], [0, 3, 1])]
    path = {"version": 1, "size": [40, 30], "fps": 4, "seconds": 2, "keys": keys}
    done, there, servers, films, pictures = threading.Event(), threading.Event(), [], [], []

    def go_on(server):
        servers.append(server)
        there.set()
        return not done.is_set()

    def page():
        try:
            there.wait()
            address = servers[0].address.replace("http", "ws").replace("/?", "/socket?")
            with connect(address, max_size=None) as socket:
                socket.recv()
                socket.send(json.dumps({"film": path}))
                socket.send(json.dumps(WISH))
                while not films or not pictures:
                    data = socket.recv(timeout=60)
                    end = 4 + struct.unpack_from("<I", data)[0]
                    head = json.loads(data[4:end])
                    if head.get("film") == "done":
                        films.append(data[end:])
                    elif "id" in head:
                        pictures.append(data[end:])
        finally:
            done.set()

    thread = threading.Thread(target=page)
    thread.start()
    argv = ["-m", str(folder / "model"), "--port", "0"]
    view_model(*parse_model_args("view.py", ViewParams, argv), go_on)
    thread.join()
    (tmp_path / "a.mp4").write_bytes(films[0])
    frames = iio.mimread(tmp_path / "a.mp4")
    assert [frame.shape for frame in frames] == [(30, 40, 3)] * 9
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1


def test_a_film_whose_page_is_gone_is_left():
    class Gone:
        clients = ()

        def take_film(self):
            return object(), CameraPath([], 40, 30, 100, 4.0)

    films = Filming(Gone(), lambda path, k: pytest.fail("drawn for nobody"))
    films.go_on()
    assert not films.is_busy


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        parse_model_args("view.py", ViewParams, ["-m", str(tmp_path)])
