"""Kill a training run at random moments: python scripts/stress_resume.py [--kills 20] [--seed 0] [-s SCENE]

One run goes through unbroken. The same command is then killed with SIGKILL at random moments, from its
start-up to its last export, and started again each time until it ends by itself. Exit code 1 when a
checkpoint under its final name cannot be read after a kill, when a temporary file is left at the end, or
when a model or the last checkpoint differs from the unbroken run's.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.tiny_scene import write_tiny_scene  # noqa: E402
from utils.checkpoint import read_tensors  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.files import PART  # noqa: E402

STEPS = {"coarse": 60, "fine": 240}
EVERY = 7  # steps between checkpoints
SHORT = (
    f"--coarse_iterations {STEPS['coarse']} --iterations {STEPS['fine']} --checkpoint_every {EVERY} "
    "--densify_from_iter 10 --densification_interval 20 --pruning_from_iter 10 --pruning_interval 20 "
    "--opacity_reset_interval 60 --save_iterations 40 80 120 160 200 --test_iterations 90 180 "
    "--init_points 500 --multires 1 --quiet"
).split()
WRITING_TIME = 0.03  # seconds; about what a folder takes
MOMENTS = ("start-up", "step", "step", "writing")  # where the kills fall, each as likely


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("-s", "--scene", type=Path, help="default: a scene of 24x24 pixels")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        unbroken, killed = (Path(temporary) / name for name in ("unbroken", "killed"))
        scene = args.scene or write_tiny_scene(Path(temporary) / "tiny")
        start_up, steps = time_unbroken(command(scene, unbroken), unbroken)
        print(f"unbroken run: {start_up:.1f} s start-up, {steps:.1f} s steps and files")
        moments, total = random.Random(args.seed), sum(STEPS.values())
        pauses = dict.fromkeys(MOMENTS, EVERY * steps / total) | {"start-up": start_up}
        faults = []
        for k, goal in enumerate(sorted(moments.uniform(0, total) for _ in range(args.kills))):
            moment = moments.choice(MOMENTS)
            pause = moments.uniform(0, pauses[moment])
            said = kill_once(command(scene, killed), killed, moment, goal, pause)
            print(f"kill {k + 1:3d}: {said}; newest checkpoint {newest(killed) or 'none'}", flush=True)
            faults += unreadable(killed)
        subprocess.run(command(scene, killed), cwd=ROOT, check=True)
        faults += leftovers(killed) + differences(unbroken, killed)
    print("\n".join(faults) or f"{args.kills} kills: models and last checkpoint are byte-equal to the unbroken run's")
    return 1 if faults else 0


def command(scene: Path, out: Path) -> list[str]:
    return [sys.executable, "train.py", "-s", str(scene), "-m", str(out), *SHORT]


def time_unbroken(train: list[str], out: Path) -> tuple[float, float]:
    """Seconds before the first checkpoint, and from there to the end."""
    begin = time.monotonic()
    process = subprocess.Popen(train, cwd=ROOT)
    wait_for_step(1, process, out)
    middle = time.monotonic()
    if process.wait():
        raise SystemExit("the unbroken run failed")
    return middle - begin, time.monotonic() - middle


def kill_once(train: list[str], out: Path, moment: str, goal: float, pause: float) -> str:
    """Start the run and kill it: `pause` seconds after its start (in start-up), or after a checkpoint of
    step `goal` or later, or (when writing) a little after the next folder is begun."""
    process = subprocess.Popen(train, cwd=ROOT)
    if moment != "start-up":
        wait_for_step(goal, process, out)
    time.sleep(pause)
    if moment == "writing":
        while process.poll() is None and not unfinished(out):
            time.sleep(0.0005)
        time.sleep(pause % WRITING_TIME)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    if ended:
        return f"the run had ended by itself, code {process.returncode}"
    at = ", ".join(f"{path.parent.name}/{path.name}" for path in unfinished(out))
    return f"in {moment}" + (f", leaving {at}" if at else "")


def wait_for_step(goal: float, process: subprocess.Popen, out: Path) -> None:
    """Return when a checkpoint of step `goal` over all stages is there, or the process has ended."""
    while process.poll() is None and steps_done(newest(out)) < goal:
        time.sleep(0.005)


def steps_done(checkpoint: str) -> int:
    """Steps of all stages up to a checkpoint's."""
    stage, _, step = checkpoint.rpartition("_")
    before = [STEPS[name] for name in list(STEPS)[: list(STEPS).index(stage)]] if stage else [0]
    return sum(before) + int(step or 0)


def newest(out: Path) -> str:
    """Name of the newest checkpoint under its final name, "" for none."""
    found = [path for path in out.glob("checkpoints/*") if path.suffix != PART]
    try:
        return max(found, key=lambda path: path.stat().st_mtime_ns).name if found else ""
    except FileNotFoundError:  # replaced while looking
        return newest(out)


def unfinished(out: Path) -> list[Path]:
    return sorted(out.glob(f"*/*{PART}"))


def unreadable(out: Path) -> list[str]:
    """What is wrong with folders that bear the final name of a checkpoint or of an exported model."""
    faults = []
    for folder in [*out.glob("checkpoints/*"), *out.glob("point_cloud/*")]:
        if folder.suffix == PART:
            continue
        names = ["model.safetensors"]
        if folder.parent.name == "checkpoints":
            names.append("optimizers.safetensors")
        try:
            for name in names:
                read_tensors(folder / name)
        except InputError as error:
            faults.append(str(error))
    return faults


def leftovers(out: Path) -> list[str]:
    return [f"{path}: left behind" for path in (*out.rglob(f"*{PART}"), *out.rglob(".*"))]


def differences(a: Path, b: Path) -> list[str]:
    """Files of models and checkpoints that are not byte-equal, and names that only one run has."""
    folders = ("point_cloud", "checkpoints")
    files = [{p.relative_to(run): p for f in folders for p in run.glob(f"{f}/*/*")} for run in (a, b)]
    odd = files[0].keys() ^ files[1].keys()
    same = files[0].keys() & files[1].keys()
    unequal = {name for name in same if files[0][name].read_bytes() != files[1][name].read_bytes()}
    return [f"{name}: not in both runs" for name in sorted(odd)] + [f"{name}: differs" for name in sorted(unequal)]


if __name__ == "__main__":
    raise SystemExit(main())
