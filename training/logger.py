"""What a run tells: a progress bar, log.jsonl, TensorBoard scalars where it is installed,
pictures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from tqdm import tqdm

from gaussian_renderer import Render
from scene.frames import Frame
from scoring.curves import draw_curves, read_rows
from scoring.evaluate import Evaluation
from scoring.metrics import psnr
from utils.files import append_text, write_text
from utils.images import contact_sheet, error_map, write_image

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_EVERY = 10  # steps between lines of log.jsonl; also how often the picture's PSNR is taken
SMOOTHING = 0.6  # of the loss and PSNR on the bar, as in 3DGS


class Logger:
    """Writes into one model folder; `quiet` hides the bar and the lines on the terminal."""

    def __init__(self, model_path: Path, *, quiet: bool) -> None:
        self.model_path, self.quiet = model_path, quiet
        self.file = model_path / "log.jsonl"
        self.shown: dict[str, float] = {}
        self.bar: tqdm | None = None
        self.since = (0, time.perf_counter())

    @cached_property
    def board(self) -> SummaryWriter | None:
        """Made at the first scalar: a run that stops before it leaves no file."""
        return _tensorboard(self.model_path)

    def say(self, text: str) -> None:
        if not self.quiet:
            tqdm.write(text)

    def note(self, stage: str, step: int, text: str) -> None:
        """To the log and the terminal."""
        self._write({"stage": stage, "step": step, "note": text})
        self.say(f"{stage} {step}: {text}")

    def warn(self, stage: str, step: int, text: str) -> None:
        """To the log and to stderr, however quiet the run."""
        self._write({"stage": stage, "step": step, "warning": text})
        print(f"warning: {text}", file=sys.stderr)

    def steps(self, stage: str, start: int, iterations: int) -> Iterator[int]:
        """Count from `start + 1` to `iterations` behind a progress bar."""
        self._forget_after(stage, start)
        self.shown, self.since = {}, (start, time.perf_counter())
        self.bar = tqdm(
            total=iterations,
            initial=start,
            desc=stage,
            unit="it",
            disable=self.quiet,
            dynamic_ncols=True,
        )
        with self.bar:
            for step in range(start + 1, iterations + 1):
                yield step
                self.bar.update()

    def step(
        self,
        stage: str,
        step: int,
        losses: Mapping[str, Tensor],
        renders: list[Render],
        frames: list[Frame],
        n_gaussians: int,
    ) -> None:
        """One line and a refreshed bar every `LOG_EVERY` steps; the first view with a picture is
        scored, if there is one."""
        if step % LOG_EVERY:
            return
        values = {name: float(value.detach()) for name, value in losses.items()}
        row = {"loss": sum(values.values())} if values else {}
        pairs = zip(renders, frames, strict=False)  # a stage may draw nothing
        seen = next((pair for pair in pairs if pair[1].image is not None), None)
        if seen is not None:
            row["psnr"] = float(psnr(seen[0].image.detach(), seen[1].image))
        for key, value in row.items():
            self.shown[key] = SMOOTHING * self.shown.get(key, value) + (1 - SMOOTHING) * value
        if self.bar is not None:
            places = {"loss": 4, "psnr": 2}
            shown = {key: f"{value:.{places[key]}f}" for key, value in self.shown.items()}
            self.bar.set_postfix({**shown, "gaussians": n_gaussians}, refresh=False)
        before, then = self.since
        self.since = (step, time.perf_counter())
        rate = (step - before) / max(self.since[1] - then, 1e-9)
        counts = {"n_gaussians": n_gaussians, "it_per_s": round(rate, 2)}
        self._write({"stage": stage, "step": step, **row, **counts, "losses": values})
        if values:
            scalars = {"l1_loss": values.get("l1", row["loss"]), "total_loss": row["loss"]}
            for name, value in scalars.items():
                self._scalar(f"{stage}/train_loss_patches/{name}", value, step)
        self._scalar(f"{stage}/iter_time", 1000 / rate, step)
        self._scalar("total_points", n_gaussians, step)

    def evaluation(self, stage: str, step: int, split: str, found: Evaluation) -> None:
        """Scores to the log and the terminal, pictures to a contact sheet."""
        self._write({"stage": stage, "step": step, "split": split, **found.scores})
        known = {key: value for key, value in found.scores.items() if value is not None}
        scores = ", ".join(f"{key} {value:.3f}" for key, value in known.items())
        self.say(f"{stage} {step} {split}: {scores}")
        for key, value in known.items():
            self._scalar(f"{stage}/{split}/loss_viewpoint - {key}", value, step)
        rows = [(truth, image, error_map(image, truth)) for truth, image in found.pictures]
        sheet = contact_sheet(rows, ("ground truth", "render", "error"))
        write_image(self.model_path / "sheets" / f"{stage}_{step:06d}_{split}.png", sheet)

    def close(self) -> None:
        """Draw the training curves and close the files."""
        draw_curves(self.model_path)
        if self.board is not None:
            self.board.close()

    def _write(self, row: Mapping[str, object]) -> None:
        append_text(self.file, json.dumps(row) + "\n")

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if self.board is not None:
            self.board.add_scalar(tag, value, step)

    def _forget_after(self, stage: str, step: int) -> None:
        """Drop lines of steps that a resumed run is about to take again."""
        if not self.file.exists():
            return
        rows = read_rows(self.file)
        kept = [row for row in rows if row["stage"] != stage or row["step"] <= step]
        write_text(self.file, "".join(json.dumps(row) + "\n" for row in kept))


def _tensorboard(folder: Path) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
