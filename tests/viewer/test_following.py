"""A page may follow a training run, which does not feel it."""

import json
import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer.show import Show
from scene import load_scene
from scene.facts import SceneFacts
from scene.frames import FrameLoader
from scene.methods import make_method
from tests.methods import CASES, EVERY, TWO
from train import train
from utils.devices import CPU
from utils.errors import InputError
from viewer import following as module
from viewer.drawing import Model, draw
from viewer.following import Follower, following
from viewer.hello import hello
from viewer.wishes import parse

pytest.importorskip("websockets")
from websockets.sync.client import connect

pytestmark = pytest.mark.long
LOOK = {"eye": [3.0, 0, 1], "target": [0, 0, 0], "up": [0, 0, 1], "fov": 0.8}
WISH = {"id": 1, "width": 32, "height": 24, "part": 0.5, "look": LOOK}


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn."""
    return CASES[request.param]


def trained(case, data, out, *flags):
    argv = ["-s", str(data), "-m", str(out), "--quiet", "--init_points", "60", *flags]
    train(parse_train_args([*argv, *case.flags(iterations=30, first=8)]))
    files = [*out.glob("point_cloud/*/*"), *out.glob("checkpoints/*/*")]
    return {str(f.relative_to(out)): f.read_bytes() for f in files if f.name != "state.json"}


def test_training_bytes_are_equal_with_a_page_that_looks_and_without(
    case, tiny_folder, tmp_path, monkeypatch, capfd
):
    """The page wishes, is answered, pauses and goes on, as fast as it is let."""
    heads, said = [], []
    real = module.Server.__enter__

    def watch(server):
        address = server.address.replace("http", "ws").replace("/?", "/socket?")
        with connect(address) as page:
            said.append(json.loads(page.recv()))
            for number in range(1, 10**6):
                if number == 3:
                    page.send('"pause"')
                if number == 6:
                    page.send('"go"')
                page.send(json.dumps({**WISH, "id": number}))
                try:
                    data = page.recv()
                except Exception:
                    return
                length = struct.unpack_from("<I", data)[0]
                heads.append(json.loads(data[4 : 4 + length]))

    def enter(server):
        found = real(server)
        threading.Thread(target=watch, args=(server,), daemon=True).start()
        with server.news:  # the run begins when the page is there
            assert server.news.wait_for(server._is_wanted, 60)
        return found

    monkeypatch.setattr(module.Server, "__enter__", enter)
    monkeypatch.setattr(module, "SHARE", 0.9)  # drawn as often as may be
    before = trained(case, tiny_folder, tmp_path / "alone")
    after = trained(case, tiny_folder, tmp_path / "watched", "--viewer", "--port", "0")
    assert after == before
    assert said[0]["training"] is True
    assert heads
    assert {"id", "stage", "step", "of", "paused"} <= heads[0].keys()
    assert heads[-1]["step"] <= 30
    assert "viewer: http://127.0.0.1:" in capfd.readouterr().out


@pytest.mark.methods("fourdgs")
def test_a_taken_port_is_told_before_a_restart_empties_the_folder(case, tiny_folder, tmp_path):
    before = trained(case, tiny_folder, tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(InputError, match=f"port {port}"):
            trained(case, tiny_folder, tmp_path / "run", "--viewer", "--port", port, "--restart")
    assert all((tmp_path / "run" / name).read_bytes() == data for name, data in before.items())


def test_nobody_asked_and_nothing_is_served(monkeypatch):
    monkeypatch.setattr(module, "Server", None)  # would fail if it were made
    run = SimpleNamespace(viewer=False)
    with following(run, None, None, None, CPU) as follower:
        assert type(follower) is Follower
        follower.after(None, 1, {}, None)


@pytest.fixture
def model(case, tiny_folder):
    settings = parse_train_args(
        ["-s", str(tiny_folder), "--init_points", "60", *case.flags(iterations=3, first=1)]
    )
    scene = load_scene(settings.dataset, settings.model, settings.data)
    facts = SceneFacts.from_scene(scene, settings.dataset)
    method = make_method(facts, settings, CPU, scene.points)
    return SimpleNamespace(facts=facts, method=method, scene=scene)


class FakeServer:
    """Always a wish; time is counted, not waited for."""

    def __init__(self):
        self.clients, self.answers, self.is_wanted = [1], [], True

    def take(self, timeout):
        return 1, parse(json.dumps(WISH))

    def answer(self, client, head, picture):
        self.answers.append(head)


@pytest.mark.methods("fourdgs")
def test_drawing_takes_at_most_a_tenth_of_the_time(model, monkeypatch):
    """By a clock of our own: a step takes 1, a picture 5."""
    now = [0.0]
    monkeypatch.setattr(module, "clock", lambda device: now[0])
    monkeypatch.setattr(
        module, "draw", lambda *args: now.__setitem__(0, now[0] + 5) or torch.zeros(2, 2, 3).numpy()
    )
    monkeypatch.setattr(module, "packed", lambda *args, **kwargs: b"")
    server = FakeServer()
    follower = module.Following(server, model.facts, model.method, model.scene, CPU)
    stage = SimpleNamespace(name="fine", iterations=1000, pose=model.method)
    for step in range(1000):
        now[0] += 1
        follower.after(stage, step, {}, SimpleNamespace(requested=False))
    drawing = 5 * (len(server.answers) - 1)  # the last one is paid for afterwards
    assert 0.08 < drawing / now[0] <= 0.1


@pytest.mark.methods("fourdgs")
def test_a_pause_ends_when_the_run_is_asked_to_stop(model):
    server = FakeServer()
    follower = module.Following(server, model.facts, model.method, model.scene, CPU)
    follower.obey("pause")
    stop = SimpleNamespace(requested=False)
    answer = server.answer

    def stops_after_three(*args):
        answer(*args)
        stop.requested = len(server.answers) == 3

    server.answer = stops_after_three
    stage = SimpleNamespace(name="fine", iterations=10, pose=model.method)
    follower.after(stage, 4, {"loss": 0.5}, stop)
    assert [head["paused"] for head in server.answers] == [True] * 3
    assert server.answers[0] | {"loss": 0.5, "step": 4, "of": 10} == server.answers[0]


@pytest.mark.methods(*TWO)
@pytest.mark.parametrize("mode", ["color", "alpha", "depth", "error"])
def test_every_mode_is_drawn_at_its_size(model, mode):
    known = Model(model.facts, Show(model.method, FrameLoader(0, CPU)), model.scene.train)
    free = parse(json.dumps({**WISH, "mode": mode}))
    assert draw([known], free).shape == (24, 32, 3)
    assert draw([known, known], free).shape == (24, 32, 3)
    split = parse(json.dumps({**WISH, "mode": mode, "camera": 1, "split": True}))
    assert draw([known], split).shape == (24, 72 if mode == "error" else 48, 3)
    assert draw([known], parse(json.dumps({**WISH, "camera": 10**6}))).shape == (24, 32, 3)


@pytest.mark.methods(*TWO)
def test_a_picture_that_is_gone_is_left_out(model):
    lost = [replace(frame, image_path=Path("gone.png")) for frame in model.scene.train]
    known = Model(model.facts, Show(model.method, FrameLoader(0, CPU)), lost)
    split = parse(json.dumps({**WISH, "camera": 1, "split": True}))
    assert draw([known], split).shape == (24, 24, 3)


def test_a_page_is_told_in_standard_json_where_it_may_look(model):
    told = json.loads(json.dumps(hello(model.facts, model.scene.train), allow_nan=False))
    assert len(told["cameras"]) == len(model.scene.train)
    assert len(told["up"]) == 3
    width = sum(len(known.mean) for known in model.facts.conditions.values())
    assert len(told["sliders"]) == width
    for slider in told["sliders"]:
        assert slider["low"] <= slider["trained"][0] <= slider["trained"][1] <= slider["high"]
