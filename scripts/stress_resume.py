"""Kill a run at random moments: python scripts/stress_resume.py [--method NAME] [--kills 20]

One run goes through unbroken. The same command is then ended at random moments, from its start-up
to its last export, by SIGKILL, SIGTERM, SIGHUP or SIGINT, and started again each time until it ends
by itself. Exit code 1 when a checkpoint under its final name cannot be read after a kill, when a
run does not stop as asked, when a temporary file is left at the end, or when a model or the last
checkpoint differs from the unbroken run's.

Each method has a scene of 24x24 pixels and a small model. -s SCENE takes another scene; flags of
train.py after --, such as --configs FILE, come after those of the small model.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from arguments import parse_train_args  # noqa: E402
from scene import load_scene  # noqa: E402
from scene.facts import SceneFacts  # noqa: E402
from scene.methods import make_method  # noqa: E402
from tests.methods import CASES, METHODS  # noqa: E402
from utils.devices import CPU  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.files import PART  # noqa: E402
from utils.tensors import read_tensors  # noqa: E402

PROGRAM = [sys.executable, "train.py"]
EVERY = 7  # steps between checkpoints
SHORT = (
    f"--checkpoint_every {EVERY} --densify_from_iter 10 --densification_interval 20 "
    "--pruning_from_iter 10 --pruning_interval 20 --opacity_reset_interval 60 "
    "--save_iterations 40 80 120 160 200 --test_iterations 90 180 --init_points 500 --quiet"
)
WRITING_TIME = 0.03  # seconds; about what a folder takes
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
INTERPRETER = 0.5  # seconds; Ctrl-C while Python itself starts is Python's to tell
PATIENCE = 60  # seconds that a run may take to save and leave
MOMENTS = ("start-up", "step", "step", "writing")  # where the kills fall, each as likely


def main() -> int:
    args = parse_args()
    case = CASES[args.method]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the runs inherit what is ignored
    with tempfile.TemporaryDirectory() as temporary:
        unbroken, killed = (Path(temporary) / name for name in ("unbroken", "killed"))
        scene = args.scene or case.write(Path(temporary) / "tiny")
        flags = [*case.flags(iterations=240, first=60), *SHORT.split(), *args.flags]
        unbroken_run, killed_run = (
            [*PROGRAM, "-s", str(scene), "-m", str(out), *flags] for out in (unbroken, killed)
        )
        steps = steps_of_stages(unbroken_run)
        start_up, seconds = time_unbroken(unbroken_run, unbroken, steps)
        print(f"unbroken run: {start_up:.1f} s start-up, {seconds:.1f} s steps and files")
        moments, total = random.Random(args.seed), sum(steps.values())
        pauses = dict.fromkeys(MOMENTS, EVERY * seconds / total) | {"start-up": start_up}
        faults = []
        for k, goal in enumerate(sorted(moments.uniform(0, total) for _ in range(args.kills))):
            moment = moments.choice(MOMENTS)
            pause = moments.uniform(0, pauses[moment])
            number = moments.choice(SIGNALS)
            code, said = kill_once(killed_run, killed, steps, moment, goal, pause, number)
            said = f"kill {k + 1:3d}: {number.name} {said}"
            print(f"{said}; newest checkpoint {newest(killed) or 'none'}", flush=True)
            faults += unreadable(killed)
            if code not in (0, 130, -number):
                faults.append(f"{said}: exit code {code}")
        subprocess.run(killed_run, cwd=ROOT, check=True)
        faults += leftovers(killed) + differences(unbroken, killed)
    print(
        "\n".join(faults)
        or f"{args.kills} kills: models and last checkpoint are byte-equal to the unbroken run's"
    )
    return 1 if faults else 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", choices=METHODS, default="fourdgs")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("-s", "--scene", type=Path, help="default: a scene of 24x24 pixels")
    parser.add_argument("flags", nargs="*", help="more flags of train.py, after --")
    return parser.parse_args()


def steps_of_stages(train: list[str]) -> dict[str, int]:
    """How many steps each stage of the run has, in their order."""
    settings = parse_train_args(train[len(PROGRAM) :])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    facts = SceneFacts.from_scene(scene, settings.dataset)
    stages = make_method(facts, settings, CPU).stages()
    return {stage.name: stage.iterations for stage in stages}


def time_unbroken(train: list[str], out: Path, steps: dict[str, int]) -> tuple[float, float]:
    """Seconds before the first checkpoint, and from there to the end."""
    begin = time.monotonic()
    process = subprocess.Popen(train, cwd=ROOT)
    wait_for_step(1, process, out, steps)
    middle = time.monotonic()
    if process.wait():
        raise SystemExit("the unbroken run failed")
    return middle - begin, time.monotonic() - middle


def kill_once(
    train: list[str],
    out: Path,
    steps: dict[str, int],
    moment: str,
    goal: float,
    pause: float,
    number: signal.Signals,
) -> tuple[int, str]:
    """Start the run and end it by the signal: `pause` seconds after its start (in start-up), or
    after a checkpoint of step `goal` or later, or (when writing) a little after the next is begun.

    Returns its exit code, and what happened."""
    process, begin = subprocess.Popen(train, cwd=ROOT), time.monotonic()
    if moment != "start-up":
        wait_for_step(goal, process, out, steps)
    time.sleep(pause)
    if moment == "writing":
        while process.poll() is None and not unfinished(out):
            time.sleep(0.0005)
        time.sleep(pause % WRITING_TIME)
    if number == signal.SIGINT:
        time.sleep(max(0, begin + INTERPRETER - time.monotonic()))
    ended = process.poll() is not None
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return 1, f"not heard for {PATIENCE} s"
    if ended:
        return process.returncode, f"the run had ended by itself, code {process.returncode}"
    at = ", ".join(f"{path.parent.name}/{path.name}" for path in unfinished(out))
    return process.returncode, f"in {moment}" + (f", leaving {at}" if at else "")


def wait_for_step(goal: float, process: subprocess.Popen, out: Path, steps: dict[str, int]) -> None:
    """Return when a checkpoint of step `goal` over all stages is there, or the run has ended."""
    while process.poll() is None and steps_done(newest(out), steps) < goal:
        time.sleep(0.005)


def steps_done(checkpoint: str, steps: dict[str, int]) -> int:
    """Steps of all stages up to a checkpoint's."""
    stage, _, step = checkpoint.rpartition("_")
    before = takewhile(lambda name: name != stage, steps) if stage else ()
    return sum(steps[name] for name in before) + int(step or 0)


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
    """What is wrong with folders under the final name of a checkpoint or an exported model."""
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
    files = [
        {p.relative_to(run): p for f in folders for p in run.glob(f"{f}/*/*")} for run in (a, b)
    ]
    odd = files[0].keys() ^ files[1].keys()
    same = files[0].keys() & files[1].keys()
    unequal = {name for name in same if files[0][name].read_bytes() != files[1][name].read_bytes()}
    return [f"{name}: not in both runs" for name in sorted(odd)] + [
        f"{name}: differs" for name in sorted(unequal)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
