"""Around a run: what its stages share, and an orderly stop."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

from gaussian_renderer.show import Show
from scene.facts import SceneFacts, evenly
from scoring.curves import read_curves, read_rows
from scoring.evaluate import evaluate
from training.strays import Strays, strays

if TYPE_CHECKING:
    from arguments.settings import Settings
    from scene import Scene
    from scene.frames import FrameLoader
    from scene.methods import MethodBase
    from training.checkpoint import Checkpoints
    from training.logger import Logger
    from training.memory import MemoryBound
    from training.stage import Stage
    from viewer.following import Follower

N_TEST_VIEWS = 17  # views per split that are scored while training
BLANK = 1e-3  # of the pictures' coverage: a model that covers less shows nothing
LOST = 3.0  # dB below the first score of the training views: such a model went wrong
DOUBTFUL = 3  # exit code of a run that ends with such a model


@dataclass(frozen=True)
class Run:
    """What every stage of one training run shares."""

    settings: Settings
    scene: Scene
    facts: SceneFacts
    method: MethodBase
    loader: FrameLoader
    checkpoints: Checkpoints
    logger: Logger
    stop: StopRequest
    viewer: Follower

    def score(self, stage: Stage, step: int) -> None:
        """Scores and a contact sheet of some train and test views, if the stage draws the model."""
        if stage.pose is None or stage.sketch:
            return
        show = Show(self.method, self.loader, stage.pose)
        for split in ("train", "test"):
            frames = evenly(self.scene.split(split), N_TEST_VIEWS)
            if frames:
                found = evaluate(show, frames, self.facts.regions)
                self.logger.evaluation(stage.name, step, split, found)

    def end(self, last: Stage, bound: MemoryBound) -> Path:
        """Export the model after its last stage and say how the run went; returns the folder.

        Exits with code 3 where the model went wrong.
        """
        folder = self.checkpoints.finished(last) or self.checkpoints.export(
            last, last.iterations, self.method, self.facts
        )
        doubt, logger = self.doubt(), self.logger
        astray = self.strays()
        logger.note(last.name, last.iterations, str(astray))
        if astray.many:
            print(f"warning: {folder}: {astray}; docs/fourdgs.md says what helps", file=sys.stderr)
        if doubt:
            remedy = "lower the learning rates or change the losses, and begin anew with --restart"
            logger.warn(last.name, last.iterations, f"{folder}: {doubt}; {remedy}")
        logger.close()
        logger.say(bound.beside_peak())
        if doubt:
            raise SystemExit(DOUBTFUL)
        model_path = self.settings.model.model_path
        logger.say(f"done: {folder}; next: python render.py --model_path {model_path}")
        return folder

    def strays(self) -> Strays:
        """What went astray in the trained model, as some training views show it."""
        frames = evenly(self.scene.train, N_TEST_VIEWS)
        return strays(Show(self.method, self.loader), frames, self.facts.box)

    def doubt(self) -> str:
        """What is wrong with the trained model, in words; "" where nothing seems to be."""
        show = Show(self.method, self.loader)
        drawn = pictured = 0.0
        for frame in map(show.load, evenly(self.scene.train, N_TEST_VIEWS)):
            if frame.alpha is not None:
                drawn += float(show(frame).alpha.mean())
                pictured += float(frame.alpha.mean())
        if drawn < BLANK * pictured:
            return "the model ends blank: its views of the training frames show nothing"
        scores = read_curves(self.logger.file).scores.get("psnr", {}).get("train")
        if scores and scores.values and scores.values[-1] < scores.values[0] - LOST:
            first, *_, last = [scores.values[0], *scores.values]
            return f"the training views end at {last:.2f} dB, they had {first:.2f} dB at first"
        return ""


def finished_before(folder: Path, last: Stage, logger: Logger) -> Path:
    """Say once more how a run ended that has nothing left to do; `folder`: its model, returned.

    Exits with code 3 where the model went wrong, as the run did.
    """
    logger.say(f"{folder}: this run is finished; --restart begins it anew")
    end = (last.name, last.iterations)
    rows = (row for row in read_rows(logger.file) if (row["stage"], row["step"]) == end)
    warnings = [row["warning"] for row in rows if isinstance(row.get("warning"), str)]
    if warnings:
        print(f"warning: {warnings[-1]}", file=sys.stderr)
        raise SystemExit(DOUBTFUL)
    return folder


class StopRequest:
    """Ctrl-C (or SIGTERM, or SIGHUP unless nohup ignores it) asks for a stop after the current
    step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    @staticmethod
    def leave(stage: str, step: int) -> NoReturn:
        """Exit with code 130 after the checkpoint of `step` was written."""
        print(f"\nstopped at {stage} step {step}, saved; the same command again goes on from there")
        raise SystemExit(130)
