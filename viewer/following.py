"""A page that follows a training run, drawn between its steps and within a tenth of its time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from gaussian_renderer.show import Poses, Show
from scene import Scene
from scene.facts import SceneFacts
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from utils.devices import clock
from viewer.drawing import Model, draw, packed
from viewer.hello import hello
from viewer.server import Server

if TYPE_CHECKING:
    import torch

    from arguments.settings import RunParams

SHARE = 0.1  # of the time, at most, that goes into drawing
WAIT = 0.2  # seconds between looks at the stop request while paused


class Stage(Protocol):
    """A span of steps, and how it poses; None where it draws nothing."""

    name: str
    iterations: int
    pose: Callable[[Frame], Gaussians] | None


class Stop(Protocol):
    """Whether the run was asked to end."""

    requested: bool


class Follower:
    """Nobody looks: the steps go on."""

    def after(self, stage: Stage, step: int, numbers: Mapping[str, float], stop: Stop) -> None:
        """Called after every step; `numbers`, such as the loss, are shown beside the picture."""


class Following(Follower):
    """Answers the pages of a server. Nothing that training reads is written to."""

    def __init__(
        self, server: Server, facts: SceneFacts, method: Poses, scene: Scene, device: torch.device
    ) -> None:
        self.server, self.facts, self.method, self.scene = server, facts, method, scene
        self.loader = FrameLoader(0, device)  # its own: the run's cache keeps what it would
        self.shows: dict[str, Show] = {}
        self.free_at = 0.0  # seconds, when the next picture is within the share
        self.running = threading.Event()
        self.running.set()
        server.on_word = self.obey

    def obey(self, word: str) -> None:
        """ "pause" or "go", from a page."""
        (self.running.clear if word == "pause" else self.running.set)()

    def after(self, stage: Stage, step: int, numbers: Mapping[str, float], stop: Stop) -> None:
        """Draw what is wished, if it is time; while paused, draw all of it and wait."""
        if self.server.is_wanted and clock(self.loader.device) >= self.free_at:
            self._answer(stage, step, numbers, timeout=0)
        while not self.running.is_set() and not stop.requested and self.server.clients:
            self._answer(stage, step, numbers, timeout=WAIT)

    def _answer(
        self, stage: Stage, step: int, numbers: Mapping[str, float], timeout: float
    ) -> None:
        if stage.pose is None:  # a wish waits for a stage that draws
            self.running.wait(timeout)
            return
        taken = self.server.take(timeout)
        if taken is None:
            return
        client, wish = taken
        start = clock(self.loader.device)
        if stage.name not in self.shows:
            self.shows[stage.name] = Show(self.method, self.loader, stage.pose)
        show = self.shows[stage.name]
        pixels = draw([Model(self.facts, show, self.scene.train, self.scene.head)], wish)
        show.seconds.clear()  # a long run would keep them all
        head = {
            "id": wish.id, "stage": stage.name, "step": step, "of": stage.iterations,
            "paused": not self.running.is_set(), **numbers,
        }  # fmt: skip
        self.server.answer(client, head, packed(pixels, sharp=wish.sharp))
        end = clock(self.loader.device)
        self.free_at = end + (end - start) * (1 - SHARE) / SHARE


@contextmanager
def following(
    run: RunParams, facts: SceneFacts, method: Poses, scene: Scene, device: torch.device
) -> Iterator[Follower]:
    """What a run calls after every step: with --viewer it serves a page, else it does nothing."""
    if not run.viewer:
        yield Follower()
        return
    told = hello(facts, scene.train, training=True, mesh=scene.head is not None)
    with Server(run.ip, run.port, told) as server:
        print(how_to_look(server), flush=True)
        yield Following(server, facts, method, scene, device)


def how_to_look(server: Server) -> str:
    """The address, and what to type where the browser is on another machine."""
    return (
        f"viewer: {server.address}\n"
        f"        from another machine: ssh -N -L {server.port}:127.0.0.1:{server.port} HOST, "
        "then the same address"
    )
