"""One run on one page, MODEL/report.html: `python scripts/make_report.py MODEL [MODEL ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (too little memory is one line)

from scoring.report import write_report
from utils.errors import run_command
from utils.files import user_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=user_path, help="output folders of training runs")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(lambda: make_reports(args.models), debug=args.debug)


def make_reports(models: list[Path]) -> None:
    for model in models:
        path = write_report(model)
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    started()
    main()
