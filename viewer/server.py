"""Pages and pictures over one port: who may look, and the last wish of each.

On a shared machine loopback is everybody's, and a page of strangers can make a browser ask any
address: a token in the address says who may look; Host and Origin say whence. Nothing is drawn
here: whoever has the model takes wishes and answers them.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from scene.camera_path import CameraPath
from utils.errors import InputError
from viewer.wishes import Wish, parse

PAGE = Path(__file__).with_name("page.html")
MAX_CLIENTS = 8
MAX_MESSAGE = 2**16  # bytes from a page
NAMES = ("localhost", "127.0.0.1", "::1")  # also the names at the near end of an ssh tunnel
SHUT = 5.0  # seconds that closing may take
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src "
    "'unsafe-inline'; img-src blob: data:; connect-src 'self'; frame-ancestors 'none'",
}


@dataclass(eq=False)
class Client:
    """A page that is open."""

    socket: object
    wish: Wish | None = None  # the last one, until it is taken
    film: CameraPath | None = None  # as well
    sending: Future | None = None  # the last answer

    @property
    def waits(self) -> bool:
        """Whether it wishes something and has got all that it wished before."""
        return self.wish is not None and (self.sending is None or self.sending.done())


class Server:
    """`with Server(host, port, hello) as server`: pages connect while the block runs.

    `hello` (JSON) is what a page is told first. `on_word` hears "pause" and "go", in the server's
    thread. Raises InputError where the port is taken or websockets is not installed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        hello: dict,
        on_word: Callable[[str], None] = lambda word: None,
    ) -> None:
        self.host, self.port, self.hello, self.on_word = host, port, hello, on_word
        self.token = secrets.token_urlsafe(16)
        self.clients: list[Client] = []
        self.news = threading.Condition()  # guards clients and their wishes
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready: threading.Event = threading.Event()
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None

    @property
    def address(self) -> str:
        name = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}/?token={self.token}"

    def __enter__(self) -> Server:
        try:
            import websockets  # noqa: F401  (here: only those who look need it)
        except ImportError:
            raise InputError(
                "the viewer needs websockets: pip install -r requirements-viewer.txt"
            ) from None
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise InputError(
                f"port {self.port} on {self.host}: {self._error}; choose another --port"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SHUT)

    def take(self, timeout: float | None) -> tuple[Client, Wish] | None:
        """The wish that has waited longest, once there is one; None after `timeout` seconds."""
        with self.news:
            self.news.wait_for(self._is_wanted, timeout)
            for client in self.clients:
                if client.waits:
                    wish, client.wish = client.wish, None
                    self.clients.append(self.clients.pop(self.clients.index(client)))
                    return client, wish
        return None

    def take_film(self) -> tuple[Client, CameraPath] | None:
        """A path that a page wants filmed, if there is one."""
        with self.news:
            for client in self.clients:
                if client.film is not None:
                    film, client.film = client.film, None
                    return client, film
        return None

    def _is_wanted(self) -> bool:
        return any(client.waits for client in self.clients)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits; cheap, and now and then late by a moment."""
        return bool(self.clients) and self._is_wanted()

    def answer(self, client: Client, head: dict, picture: bytes) -> None:
        """Send a picture; a page that is gone gets nothing."""
        text = json.dumps(head).encode()
        data = struct.pack("<I", len(text)) + text + picture
        client.sending = asyncio.run_coroutine_threadsafe(client.socket.send(data), self._loop)
        client.sending.add_done_callback(self._sent)

    def _sent(self, done: Future) -> None:
        done.exception()  # a page that is gone is no error
        with self.news:
            self.news.notify_all()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = OSError(error.strerror or str(error))
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        self._stop = asyncio.Event()
        async with serve(
            self._meet,
            self.host,
            self.port,
            process_request=self._door,
            max_size=MAX_MESSAGE,
            compression=None,
            logger=_silence(),
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    def _door(self, connection: object, request: object) -> object:
        """Refuse, or show the page, or (None) let a socket in."""
        refusal = self.refusal(request.path, request.headers)
        if refusal is not None:
            return connection.respond(*refusal)
        if urlsplit(request.path).path == "/socket":
            return None
        response = connection.respond(HTTPStatus.OK, PAGE.read_text())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    def refusal(self, path: str, headers: object) -> tuple[HTTPStatus, str] | None:
        """Why a request is not answered; None where it is."""
        host = headers.get("Host", "")
        if urlsplit(f"//{host}").hostname not in (*NAMES, self.host):
            return HTTPStatus.FORBIDDEN, "this host is none of ours\n"
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return HTTPStatus.FORBIDDEN, "this origin is none of ours\n"
        place = urlsplit(path)
        if place.path not in ("/", "/socket"):
            return HTTPStatus.NOT_FOUND, "there is no such page\n"
        (token,) = parse_qs(place.query).get("token", [""])[:1]
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return HTTPStatus.FORBIDDEN, "a wrong token: use the address that was printed\n"
        if place.path == "/socket" and len(self.clients) >= MAX_CLIENTS:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CLIENTS} pages look already\n"
        return None

    async def _meet(self, socket: object) -> None:
        client = Client(socket)
        with self.news:
            self.clients.append(client)
        try:
            await socket.send(json.dumps(self.hello))
            async for text in socket:
                try:
                    found = parse(text)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    await socket.close(1008, str(error)[:100])
                    return
                if isinstance(found, str):
                    self.on_word(found)
                    continue
                with self.news:
                    if isinstance(found, CameraPath):
                        client.film = found
                    else:
                        client.wish = found
                    self.news.notify_all()
        finally:
            with self.news:
                self.clients.remove(client)
                self.news.notify_all()


def _silence() -> logging.Logger:
    """Browsers open connections ahead and leave them: nobody needs a traceback of that."""
    logger = logging.getLogger("viewer.server")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
