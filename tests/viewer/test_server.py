"""Who may look, and that only the last wish counts."""

import json
import struct
import urllib.error
import urllib.request
from concurrent.futures import Future
from email.message import Message

import pytest

from utils.errors import InputError
from viewer.server import MAX_CLIENTS, Server

pytest.importorskip("websockets")
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

LOOK = {"eye": [3, 0, 1], "target": [0, 0, 0], "up": [0, 0, 1], "fov": 0.8}
WISH = {"id": 1, "width": 32, "height": 24, "part": 0.5, "look": LOOK}


@pytest.fixture
def server():
    with Server("127.0.0.1", 0, {"hello": 1}) as server:
        yield server


def socket_of(server, **options):
    return connect(server.address.replace("http", "ws").replace("/?", "/socket?"), **options)


def status(server, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_the_page_is_shown_to_whoever_has_the_token(server):
    code, headers, body = status(server, f"/?token={server.token}")
    assert code == 200
    assert b"<canvas" in body
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/socket?token=wrong", "/?x=1"])
def test_a_wrong_token_is_refused(server, path):
    code, _, body = status(server, path)
    assert code == 403
    assert b"<canvas" not in body


@pytest.mark.parametrize("path", ["/etc/passwd", "/../page.html", "/page.html"])
def test_there_is_no_other_page(server, path):
    assert status(server, f"{path}?token={server.token}")[0] == 404


def test_hosts_and_origins_of_others_are_refused_and_a_tunnel_is_not(server):
    path = f"/?token={server.token}"
    assert status(server, path, Host="evil.example")[0] == 403  # a name that was rebound to us
    assert status(server, path, Host=f"evil.example:{server.port}")[0] == 403
    assert status(server, path, Origin="http://evil.example")[0] == 403
    assert status(server, path, Host="localhost:8000")[0] == 200  # the near end of a tunnel
    assert status(server, path, Host="localhost:8000", Origin="http://localhost:8000")[0] == 200
    assert status(server, path, Host="localhost:8000", Origin="http://localhost:9000")[0] == 403
    assert status(server, path, Origin="null")[0] == 403


def test_a_socket_of_another_page_is_refused(server):
    with pytest.raises(InvalidStatus), socket_of(server, origin="http://evil.example"):
        pass


def test_ways_to_send_a_request_are_refused_by_hand(server):
    headers = Message()
    assert server.refusal("/", headers)[0] == 403  # no Host at all
    headers["Host"] = "127.0.0.1"
    assert server.refusal("/?token=" + "é", headers)[0] == 403


def test_only_the_last_wish_is_answered(server):
    with socket_of(server) as page:
        assert json.loads(page.recv()) == {"hello": 1}
        for number in range(50):
            page.send(json.dumps({**WISH, "id": number}))
        page.send(json.dumps({**WISH, "id": 99}))
        with server.news:
            assert server.news.wait_for(
                lambda: any(c.wish and c.wish.id == 99 for c in server.clients), 60
            )
        client, wish = server.take(0)
        assert wish.id == 99
        assert server.take(0) is None
        server.answer(client, {"id": 99}, b"picture")
        data = page.recv()
        length = struct.unpack_from("<I", data)[0]
        assert json.loads(data[4 : 4 + length]) == {"id": 99}
        assert data[4 + length :] == b"picture"


def test_a_page_that_reads_nothing_gets_nothing_more(server):
    """Its answers would pile up: it is asked again when it has got the last one."""
    with socket_of(server) as page:
        page.recv()
        page.send(json.dumps(WISH))
        client, _ = server.take(60)
        client.sending = Future()  # still on its way
        page.send(json.dumps({**WISH, "id": 2}))
        with server.news:
            assert server.news.wait_for(lambda: client.wish is not None, 60)
        assert server.take(0) is None
        assert not server.is_wanted
        client.sending.set_result(None)
        assert server.take(0)[1].id == 2


def test_pages_take_turns(server):
    with socket_of(server) as one, socket_of(server) as other:
        for page in (one, other):
            page.recv()
            page.send(json.dumps(WISH))
        with server.news:
            assert server.news.wait_for(
                lambda: sum(c.wish is not None for c in server.clients) == 2, 60
            )
        assert server.take(0)[0] is not server.take(0)[0]


def test_a_closed_page_leaves_nothing_and_an_answer_to_it_does_no_harm(server):
    with socket_of(server) as page:
        page.recv()
        page.send(json.dumps(WISH))
        client, _ = server.take(60)
    with server.news:
        assert server.news.wait_for(lambda: not server.clients, 60)
    server.answer(client, {"id": 1}, b"late")
    assert not server.is_wanted


def test_more_pages_than_fit_are_refused(server):
    pages = [socket_of(server) for _ in range(MAX_CLIENTS)]
    for page in pages:
        page.recv()
    with pytest.raises(InvalidStatus), socket_of(server):
        pass
    for page in pages:
        page.close()


HUGE = "9" * 400
BAD = [
    "no json", "[]", "{}", json.dumps({**WISH, "width": 10**6}), json.dumps({**WISH, "width": 0}),
    json.dumps({**WISH, "height": 2.5}), json.dumps({**WISH, "mode": "rm"}),
    json.dumps({**WISH, "part": 2}), json.dumps(WISH).replace("0.5", "NaN"),
    json.dumps(WISH).replace("0.5", HUGE), json.dumps({**WISH, "look": {**LOOK, "eye": [0, 0, 0]}}),
    json.dumps({**WISH, "look": {**LOOK, "eye": [0, 0, 5]}}),
    json.dumps({**WISH, "look": {**LOOK, "eye": [1e30, 0, 0]}}),
    json.dumps({**WISH, "sliders": {"__class__": {"0": 1}}}),
    json.dumps({**WISH, "sliders": {"expression": {"a": 1}}}),
    json.dumps({**WISH, "sliders": {"expression": [1]}}),
    json.dumps({**WISH, "camera": True}), "[" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_page_that_talks_nonsense_is_shut_and_the_others_go_on(server, text):
    with socket_of(server) as good, socket_of(server) as bad:
        good.recv()
        bad.recv()
        bad.send(text)
        with pytest.raises(ConnectionClosed):
            bad.recv(timeout=60)
        good.send(json.dumps(WISH))
        assert server.take(60)[1].id == 1


def test_a_message_without_end_is_shut(server):
    with socket_of(server) as page:
        page.recv()
        page.send("x" * 2**20)
        with pytest.raises(ConnectionClosed):
            page.recv(timeout=60)


def test_words_are_heard():
    heard = []
    with Server("127.0.0.1", 0, {}, heard.append) as server, socket_of(server) as page:
        page.recv()
        for word in ("pause", "go"):
            page.send(json.dumps(word))
        page.send(json.dumps(WISH))
        server.take(60)
    assert heard == ["pause", "go"]


def test_a_taken_port_is_told_in_one_line(server):
    with (
        pytest.raises(InputError, match=f"port {server.port} .*choose another --port"),
        Server("127.0.0.1", server.port, {}),
    ):
        pass
