"""Train and score several configurations under one protocol:
`python scripts/compare.py -s DATA --configs A.py B.py [--seeds 3] -o OUTPUT [-- -r 256]`.

Writes table.md and results.json (PSNR, SSIM, LPIPS where its weights are, head, torso and regions
such as the mouth, all of them on test and on val, size on disk, training time, render FPS,
Gaussians), and <scene>.mp4 and <scene>.png, ground truth and every configuration side by side. The
same command again goes on where it was interrupted. What stands behind `--` goes to every train.py.

`-s A B C D --held_out C D` chooses on A and B and reports on C and D: each pair has its own table,
with the mean over its scenes. Runs that show other parts of a person (`--part`) have theirs, too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.threads  # isort: skip  # noqa: F401

from scripts.comparison.results import write_picture, write_table, write_video
from scripts.comparison.runs import Run, complete, plan
from utils.errors import InputError, run_command
from utils.images import make_folder


def main() -> None:
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-s", "--scenes", nargs="+", type=Path, required=True, help="dataset folders"
    )
    words = "which of these, by folder or name, had no part in choosing settings"
    parser.add_argument("--held_out", nargs="+", type=Path, default=[], help=words)
    parser.add_argument(
        "--configs", nargs="+", type=Path, required=True, help="config files to compare"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs of each config, with seeds 0, 1, ..."
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="output folder")
    words = "none: one run after another; slurm, local: each a job, a process"
    parser.add_argument("--cluster", choices=("none", "slurm", "local"), default="none", help=words)
    parser.add_argument("--partition", default="", help="of the Slurm cluster")
    parser.add_argument("--gpus", type=int, default=0, help="of each job")
    parser.add_argument("--minutes", type=int, default=24 * 60, help="time limit of a job")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(sys.argv[1:at])
    run_command(lambda: compare(args, tuple(sys.argv[at + 1 :])), debug=args.debug)


def compare(args: argparse.Namespace, flags: tuple[str, ...]) -> None:
    """Complete every run, then write what they show."""
    for path in (*args.scenes, *args.configs):
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
    if args.seeds < 1:
        raise InputError(f"--seeds is {args.seeds}, expected at least 1")
    held_out = {_one_of(args.scenes, scene) for scene in args.held_out}
    runs = plan(args.scenes, args.configs, args.seeds, args.out, flags)
    make_folder(args.out)
    if args.cluster == "none":
        for k, run in enumerate(runs):
            print(f"{k + 1} of {len(runs)}: {run.folder}", flush=True)
            complete(run)
    else:
        submit(runs, args)
    print(write_table(args.out, runs, held_out))
    for scene in dict.fromkeys(run.scene for run in runs):
        first = [run for run in runs if run.scene == scene and run.seed == 0]
        for write, end in ((write_video, ".mp4"), (write_picture, ".png")):
            path = args.out / f"{scene.name}{end}"
            write(path, first)
            print(path)


def _one_of(scenes: list[Path], named: Path) -> Path:
    """The scene of that path or name, as the runs have it; raises InputError where none is."""
    for scene in scenes:
        if named.resolve() == scene.resolve() or str(named) == scene.resolve().name:
            return scene.resolve()
    known = ", ".join(map(str, scenes))
    raise InputError(f"--held_out {named}: not one of the scenes of -s: {known}")


def submit(runs: list[Run], args: argparse.Namespace) -> None:
    """Give each run to a job and wait for all, then raise the first failure, if any."""
    try:
        import submitit
    except ImportError:
        raise InputError(
            f"--cluster {args.cluster} needs a package: pip install submitit"
        ) from None
    executor = submitit.AutoExecutor(folder=args.out / "jobs", cluster=args.cluster)
    executor.update_parameters(timeout_min=args.minutes, name="compare")
    if args.gpus:
        executor.update_parameters(gpus_per_node=args.gpus)
    if args.partition:
        executor.update_parameters(slurm_partition=args.partition)
    jobs = [executor.submit(complete, run) for run in runs]
    print(f"{len(jobs)} jobs, their output in {args.out / 'jobs'}", flush=True)
    failures = [failure for failure in (job.exception() for job in jobs) if failure]
    if failures:
        raise InputError(
            f"{len(failures)} of {len(jobs)} jobs failed, the first with: {failures[0]}"
        )


if __name__ == "__main__":
    main()
