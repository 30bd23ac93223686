"""Make a head dataset of a person's own video: python scripts/make_avatar.py me.mp4 --out data/me

Finds and tracks the face with free parts, fits the free head model to all frames at once, and
writes a folder in IMavatar's layout with an overlay to look at. Nothing is written beside the
video; a killed run goes on where it stopped. docs/own-video.md says how to film.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.threads  # isort: skip  # noqa: F401  (before torch, as in the commands)

from capture.clip import Settings, Stages, checked
from capture.find import PLACES
from capture.nets import FOLDER, FaceNets
from capture.subject import Holding, own_place, write_subject
from capture.video import TURNS
from scene.head.files import FREE_HEAD, load_head_model
from scripts.get_face_nets import get_nets
from scripts.make_head_model import make as make_free_head
from scripts.tie_landmarks import tied
from utils.errors import InputError, run_command
from utils.files import user_path

DEFAULTS = Settings()


def make_avatar(
    videos: list[Path],
    out: Path,
    settings: Settings,
    holding: Holding,
    *,
    head_model: Path | None = None,
    archive: Path | None = None,
    workers: int = 2,
    quiet: bool = False,
) -> Path:
    """The subject's folder, in `out`, for train.py's -s. Raises InputError for what is refused."""
    for video in videos:
        if not video.is_file():
            raise InputError(f"{video}: no such video; check the path")
    own_place(out, videos)
    get_nets(FOLDER, archive, force=False)
    nets = FaceNets()
    if head_model is None and not FREE_HEAD.is_file():
        make_free_head(FREE_HEAD, None, force=False)
    model = load_head_model(head_model or FREE_HEAD)
    if model.landmarks is None or len(model.landmarks.faces) < 70:
        raise InputError(
            f"{head_model}: it has no landmarks of the irises; put "
            "landmark_embedding_with_eyes.npy beside it (docs/head-model.md)"
        )
    table = tied(model, nets, workers=workers)
    stages = Stages(out / "tracking", nets, quiet=quiet)
    clips = [stages.clip(video, settings) for video in videos]
    clips, fits = checked(clips, stages.fitted(clips, model, table))
    return write_subject(out, clips, fits, model, settings, holding, nets.fingerprint, quiet=quiet)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", type=user_path, help="clips of one person")
    parser.add_argument("--out", type=user_path, required=True, help="folder to make")
    parser.add_argument("--fps", type=float, default=DEFAULTS.fps, help="0: every frame")
    parser.add_argument("--size", type=int, default=DEFAULTS.size, help="of the pictures, pixels")
    parser.add_argument("--start", type=float, default=0.0, help="seconds")
    parser.add_argument("--end", type=float, default=0.0, help="seconds; 0: to the end")
    parser.add_argument(
        "--rotate",
        type=int,
        choices=sorted(TURNS),
        default=0,
        help="degrees clockwise that the video is turned before all else",
    )
    parser.add_argument("--face", choices=PLACES, default="", help="which of several faces")
    parser.add_argument(
        "--focal",
        type=float,
        default=DEFAULTS.focal,
        help="focal length in longer sides of the video, where the lens is known",
    )
    parser.add_argument(
        "--hold_out",
        type=float,
        default=Holding.part,
        help="part of the frames held out for scores",
    )
    parser.add_argument(
        "--tail",
        action="store_true",
        help="hold out the end of the video, not blocks spread over it",
    )
    parser.add_argument("--person", default="", help="whose face it is, kept in the folder's note")
    parser.add_argument(
        "--head_model", type=user_path, help="your own FLAME file in place of the free head"
    )
    parser.add_argument("--archive", type=user_path, help="the nets' wheel at hand")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw heads, once")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(lambda: _run(args), debug=args.debug)


def _run(args: argparse.Namespace) -> None:
    if not 64 <= args.size <= 2048:
        raise InputError(f"--size is {args.size}; choose a number from 64 to 2048")
    if not 0.5 <= args.focal <= 20:
        raise InputError(f"--focal is {args.focal:g}; lenses have 0.5 to 20 sides of the picture")
    if not 0 < args.hold_out < 0.9:
        raise InputError(f"--hold_out is {args.hold_out:g}; choose a part between 0 and 0.9")
    settings = Settings(
        args.fps, args.size, args.start, args.end, args.rotate, args.face, args.focal
    )
    holding = Holding(args.hold_out, args.tail, args.person)
    subject = make_avatar(
        args.videos,
        args.out,
        settings,
        holding,
        head_model=args.head_model,
        archive=args.archive,
        workers=max(1, args.workers),
        quiet=args.quiet,
    )
    print(f"data      {subject}   <- train.py -s, with arguments/imavatar/own_video.py")
    print(f"page      {args.out / 'tracking.html'}")
    print(f"{args.out / 'overlay.mp4'}: look at it before you train")


if __name__ == "__main__":
    main()
