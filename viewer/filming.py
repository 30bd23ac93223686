"""Camera paths that pages send become videos, a picture at a time, so that others can go on
looking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from scene.camera_path import CameraPath
from utils.errors import InputError
from utils.images import Pixels
from utils.video import VideoWriter
from viewer.server import Client, Server

TELL = 0.5  # seconds between two words on how far a film is


class Filming:
    """One film after the other; whoever has the models says how the k-th picture looks."""

    def __init__(self, server: Server, picture: Callable[[CameraPath, int], Pixels]) -> None:
        self.server, self.picture = server, picture
        self._pictures: Iterator[None] = iter(())
        self.is_busy = False

    def go_on(self) -> None:
        """Draw one more picture, if there is a film to make; the last one sends it."""
        if not self.is_busy:
            taken = self.server.take_film()
            if taken is None:
                return
            self._pictures = self._film(*taken)
        self.is_busy = next(self._pictures, "done") != "done"

    def _film(self, client: Client, path: CameraPath) -> Iterator[None]:
        told = time.monotonic()
        with TemporaryDirectory() as folder:
            file = Path(folder) / "path.mp4"
            try:
                with VideoWriter(file, fps=path.fps) as video:
                    for k in range(path.count):
                        if client not in self.server.clients:
                            return
                        video.add(self.picture(path, k))
                        if time.monotonic() > told + TELL:
                            told = time.monotonic()
                            self._say(client, f"{k + 1} of {path.count}")
                        yield
            except InputError as error:  # no encoder, or a full disk
                self._say(client, str(error))
                return
            self._say(client, "done", file.read_bytes())

    def _say(self, client: Client, word: str, film: bytes = b"") -> None:
        self.server.answer(client, {"film": word}, film)
