"""What README opens with, made of the two demos: moving pictures, and pages of one file.

`python scripts/make_showcase.py`, after `make demo` and `make demo-head`. With `--renew` the pages
keep their numbers and get today's export/web/page.html around them, which needs no trained model.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (too little memory is one line)

from export.page import data_of, page_around
from scripts.make_gif import make_gif
from utils.errors import InputError, run_command
from utils.files import replacing

ROOT = Path(__file__).resolve().parents[1]
PICTURES, PAGES = ROOT / "docs" / "images", ROOT / "docs" / "pages"


class Shown(NamedTuple):
    """One of the demos."""

    name: str  # of its folder in output/
    gif: str  # in docs/images/
    page: str  # in docs/pages/
    views: str  # folder of views whose video becomes the moving picture
    draws: list[str]  # flags of render.py
    export: list[str]  # of export.py, so that a page stays small


SHOWN = (
    Shown(
        "demo", "demo.gif", "robot.html", "video",
        [], ["--prune", "0.4"],
    ),
    Shown(
        "demo_head", "head.gif", "head.html", "novel_view",
        ["--skip_video", "--novel_view", "--turn", "25"], ["--prune", "0.3", "--modes", "12"],
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renew", action="store_true", help="the page alone, around its numbers")
    names = [shown.name for shown in SHOWN]
    parser.add_argument("--only", choices=names, help="one of the demos")
    args = parser.parse_args()
    run_command(renew if args.renew else lambda: make(args.only), debug=False)


def make(only: str | None = None) -> None:
    """Draw and export both demos, or `only` the one of this name."""
    wanted = [shown for shown in SHOWN if only in (None, shown.name)]
    for shown in wanted:
        model = ROOT / "output" / shown.name
        if not (model / "config.json").is_file():
            raise InputError(f"{model}: no trained model there; `make demo` and `make demo-head`")
    for shown in wanted:
        model = ROOT / "output" / shown.name
        skip = ["--skip_train", "--skip_test", "--skip_val", "--video_only", "--quiet"]
        _run("render.py", "-m", model, *skip, *shown.draws)
        (video,) = model.glob(f"{shown.views}/ours_*/video_rgb.mp4")
        make_gif(video, PICTURES / shown.gif, width=200, every=3, megabytes=1)
        _run("export.py", "-m", model, "-o", PAGES / shown.page, *shown.export)


def renew(folder: Path = PAGES) -> None:
    """Put today's page around the numbers of every page in the folder."""
    for file in sorted(folder.glob("*.html")):
        page = page_around(data_of(file))
        with replacing(file) as part:
            part.write_text(page)


def _run(program: str, *flags: object) -> None:
    done = subprocess.run([sys.executable, program, *map(str, flags)], cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    started()
    main()
