"""One run of a comparison: a configuration with a seed on a scene, trained, rendered and scored."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scene.methods import saved_iterations
from scoring.curves import read_rows
from scoring.views_file import read_views
from utils.errors import InputError
from utils.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
MEASURES = "compared.json"  # in a run's folder, when everything else is there
PART = "part"  # there, too: the part of a person that the pictures show, a protocol of its own
VAL = "val "  # before the name of what was measured on the val split
MIB = 2**20


@dataclass(frozen=True)
class Run:
    """What is trained, and where it is written."""

    scene: Path
    config: Path
    seed: int
    folder: Path
    flags: tuple[str, ...] = ()  # of train.py, the same for every run

    @property
    def label(self) -> str:
        return config_label(self.config)


def config_label(config: Path) -> str:
    """`arguments/nerfblendshape/default.py` is called nerfblendshape-default."""
    return f"{config.parent.name}-{config.stem}"


def plan(
    scenes: list[Path], configs: list[Path], n_seeds: int, out: Path, flags: tuple[str, ...]
) -> list[Run]:
    """Every run, scene by scene; raises InputError where two would write to one folder."""
    out, scenes, configs = (
        out.resolve(),
        [s.resolve() for s in scenes],
        [c.resolve() for c in configs],
    )
    runs = [
        Run(scene, config, seed, out / scene.name / config_label(config) / f"seed_{seed}", flags)
        for scene in scenes
        for config in configs
        for seed in range(n_seeds)
    ]
    folders = [run.folder for run in runs]
    for run in runs:
        if folders.count(run.folder) > 1:
            raise InputError(
                f"{run.folder}: two runs would be written there; name scenes and configs apart"
            )
    return runs


def complete(run: Run) -> None:
    """Train, render and score what of the run is not there yet.

    A run that was interrupted goes on from its last checkpoint. Of one that is whole train.py only
    checks that its settings are still the same. Raises InputError with the last line of the command
    that failed.
    """
    model = str(run.folder)
    _call(run, "train.py", "-s", str(run.scene), "-m", model, "--configs", str(run.config),
          "--seed", str(run.seed), "--quiet", *run.flags)  # fmt: skip
    if (run.folder / MEASURES).is_file():
        return
    _call(run, "render.py", "-m", model, "--skip_train", "--skip_video", "--quiet")
    _call(run, "metrics.py", "-m", model, "--quiet")
    write_json(run.folder / MEASURES, _measures(run))


def _call(run: Run, command: str, *flags: str) -> None:
    """Run one of the project's commands."""
    done = subprocess.run(
        [sys.executable, str(ROOT / command), *flags], capture_output=True, text=True, cwd=ROOT
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InputError(f"{run.folder}: {command} failed: {''.join(last) or 'no message'}")


def _measures(run: Run) -> dict[str, float | str | None]:
    """Numbers of a whole run by the name of their column; those of val begin with "val "; the part
    of a person that it shows, if it shows one."""
    iteration = saved_iterations(run.folder)[-1]
    scores = _scores(run.folder / "results.json", iteration)
    val = run.folder / "results_val.json"
    if val.is_file():  # there is none where a scene has no such split
        scores |= {f"{VAL}{name}": value for name, value in _scores(val, iteration).items()}
    model = run.folder / f"point_cloud/iteration_{iteration}/model.safetensors"
    rows = [row for row in read_rows(run.folder / "log.jsonl") if "it_per_s" in row]
    protocol = read_json(run.folder / "results.json")[f"ours_{iteration}"]["protocol"]
    return scores | {
        PART: protocol.get("part"),
        "MiB": model.stat().st_size / MIB,
        "training s": _training_seconds(rows),
        "render FPS": read_views(views(run)).timing.get("posed_and_drawn_fps"),
        "Gaussians": rows[-1]["n_gaussians"] if rows else None,
    }


def _scores(file: Path, iteration: int) -> dict[str, float | None]:
    results = read_json(file)[f"ours_{iteration}"]
    return {name: value for name, value in results.items() if name != "protocol"}


def _training_seconds(rows: list[dict]) -> float:
    """From the rates in the log: what an interruption cost does not count."""
    seconds, before = 0.0, {}
    for row in rows:
        steps = row["step"] - before.get(row["stage"], 0)
        seconds += steps / row["it_per_s"]
        before[row["stage"]] = row["step"]
    return seconds


def measures(run: Run) -> dict[str, float | str | None]:
    """What `complete` found."""
    return read_json(run.folder / MEASURES)


def views(run: Run) -> Path:
    """The folder with the test renders of the last iteration."""
    return run.folder / "test" / f"ours_{saved_iterations(run.folder)[-1]}"
