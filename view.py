"""Look at a trained model in a browser: python view.py -m output/NAME --port 6017"""

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import sys
from collections.abc import Callable
from functools import partial

from arguments import parse_model_args
from arguments.settings import Settings, ViewParams
from gaussian_renderer.kept import Kept
from gaussian_renderer.show import Show
from scene import load_scene
from scene.frames import FrameLoader
from scene.methods import open_model
from utils.devices import choose_device
from utils.errors import InputError, run_command
from viewer.drawing import Model, draw, filmed, packed
from viewer.filming import Filming
from viewer.following import how_to_look
from viewer.hello import hello
from viewer.server import Server

WAIT = 0.5  # seconds between looks at Ctrl-C


def view_model(
    settings: Settings, options: ViewParams, go_on: Callable[[Server], bool] = lambda server: True
) -> None:
    """Serve the page until Ctrl-C; `go_on` is asked now and then."""
    models = [_opened(settings, options.iteration, options.posed_mb)]
    if options.beside:
        models.append(_opened(*_beside(options), options.posed_mb))
    first, run = models[0], settings.run
    told = hello(first.facts, first.frames, mesh=any(model.head is not None for model in models))
    with Server(run.ip, run.port, told) as server:
        print(how_to_look(server), flush=True)
        films = Filming(server, partial(filmed, models))
        while go_on(server):
            films.go_on()
            taken = server.take(0 if films.is_busy else WAIT)
            if taken is None:
                continue
            client, wish = taken
            picture = packed(draw(models, wish), sharp=wish.sharp)
            server.answer(client, {"id": wish.id}, picture)
            for model in models:
                model.show.seconds.clear()  # a long evening would keep them all


def _opened(settings: Settings, iteration: int, posed_mb: int) -> Model:
    device = choose_device(settings.run.device)
    facts, method = open_model(settings, iteration, device)
    show = Show(method, FrameLoader(settings.run.cache_mb, device), Kept(method, posed_mb))
    try:  # pictures to be shown beside, and the head model
        scene = load_scene(settings.dataset, settings.model, settings.data)
    except InputError:
        return Model(facts, show, facts.shown)
    return Model(facts, show, scene.train, scene.head)


def _beside(options: ViewParams) -> tuple[Settings, int]:
    settings, _ = parse_model_args("view.py", ViewParams, ["-m", options.beside])
    return settings, -1


if __name__ == "__main__":
    started()
    settings, options = run_command(
        lambda: parse_model_args("view.py", ViewParams, sys.argv[1:]),
        debug="--debug" in sys.argv,
    )
    run_command(lambda: view_model(settings, options), debug=settings.run.debug)
