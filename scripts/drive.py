"""Let a face drive an avatar: python scripts/drive.py -m output/me --video other.mp4

Drivers: --video FILE, --camera NUMBER (two seconds of a neutral face first), --csv of Live Link
Face, --arkit JSON weights, --vmc PORT (packets of a VMC sender to this machine only). Writes
drive/<driver>/video.mp4 in the model's folder, or to --out. docs/own-video.md has examples.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.threads  # isort: skip  # noqa: F401  (before torch, as in the commands)

import cv2
import torch
from torch import Tensor

from arguments import parse_render_args
from capture.clip import Settings, Stages, checked
from capture.drivers import (
    MAX_PACKET,
    Performance,
    VmcState,
    from_scores,
    read_arkit,
    read_livelink,
)
from capture.find import PLACES
from capture.fit import columns_of
from capture.live import CALIBRATION, LiveTracker
from capture.nets import FaceNets
from capture.puppet import Puppet, resting
from capture.table import PointHead
from capture.video import Source, rate
from gaussian_renderer.show import Show
from scene.facts import SceneFacts
from scene.frames import Frame, FrameLoader
from scene.head.files import FREE_HEAD, load_head_model
from scene.head.model import HeadModel
from scene.methods import model_folder, read_method
from scripts.tie_landmarks import tied
from utils.devices import choose_device
from utils.errors import InputError, run_command
from utils.files import user_path
from utils.images import Pixels, to_pixels
from utils.video import VideoWriter

T = TypeVar("T")
LIVE_SECONDS = 20.0  # of a camera or of packets, where --seconds does not say
LEAST_DRIVING = 10  # frames of a clip that drives
QUIET = 5.0  # seconds without a packet that end a VMC performance
FREE_NECK = (0.0, -0.07, -0.03)  # metres: of the neck joint, where no head model says


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model_path", type=user_path, required=True, help="output/NAME")
    parser.add_argument("-r", "--resolution", type=int, default=0, help="width of the video")
    driver = parser.add_mutually_exclusive_group(required=True)
    driver.add_argument("--video", type=user_path, help="a clip of any face")
    driver.add_argument("--camera", help="number of a camera, or a file that plays as one")
    driver.add_argument("--csv", type=user_path, help="of Live Link Face")
    driver.add_argument("--arkit", type=user_path, help="JSON with ARKit weights")
    driver.add_argument("--vmc", type=int, help="UDP port on this machine")
    parser.add_argument("--face", choices=PLACES, default="", help="which of several in --video")
    parser.add_argument("--head_model", type=user_path, help="the avatar's, if not the free head")
    parser.add_argument("--out", type=user_path, help="video to write")
    parser.add_argument("--seconds", type=float, default=LIVE_SECONDS, help="of a live driver")
    parser.add_argument("--keep_mean", action="store_true", help="take the driver's face as it is")
    parser.add_argument("--free_range", action="store_true", help="leave the training range")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(lambda: drive(args), debug=args.debug)


def drive(args: argparse.Namespace) -> None:
    model = load_head_model(args.head_model or FREE_HEAD)
    stage = Avatar(args)
    if args.camera is not None:
        _live(args, stage, model)
        return
    performance = _performance(args, model)
    fps = rate(performance.times)
    puppet = stage.puppet(model, resting(performance), args)
    out = args.out or stage.place(_name(args))
    with VideoWriter(out, fps) as video:
        for expression, pose in zip(performance.expression, performance.pose, strict=True):
            video.add(stage.draw(puppet.frame(expression, pose)))
    print(f"{len(performance)} frames at {fps:.1f} a second: {out}")


class Avatar:
    """A trained model that draws frames."""

    def __init__(self, args: argparse.Namespace) -> None:
        words = ["-m", str(args.model_path), "--device", args.device]
        self.settings, _ = parse_render_args(words)
        folder = model_folder(args.model_path, -1)
        facts = SceneFacts.read(folder)
        if facts is None:
            raise InputError(f"{folder}: it has no scene.json; train the avatar once more")
        self.facts, self.path = facts, args.model_path
        device = choose_device(self.settings.run.device)
        self.show = Show(read_method(folder, facts, self.settings, device), FrameLoader(0, device))
        self.width = args.resolution

    def puppet(
        self, model: HeadModel, rest: tuple[Tensor, Tensor], args: argparse.Namespace
    ) -> Puppet:
        subject = self.facts.subject
        neck = torch.tensor(FREE_NECK) * (subject.scale if subject else 1.0)
        if subject is not None:
            person = model.personal(subject.shape[: model.shape_basis.shape[-1]])
            neck = (person.joint_regressor @ person.template)[1] * subject.scale
        return Puppet(
            self.facts, rest, neck, subtract_mean=not args.keep_mean, clamp=not args.free_range
        )

    def place(self, name: str) -> Path:
        return self.path / "drive" / name / "video.mp4"

    def draw(self, frame: Frame) -> Pixels:
        """The picture of a frame, at the width that was asked for."""
        if self.width:
            frame = replace(frame, camera=frame.camera.at(self.width))
        with torch.no_grad():
            return to_pixels(self.show(self.show.load(frame)).image)


def _name(args: argparse.Namespace) -> str:
    source = args.video or args.csv or args.arkit
    return source.stem if source else "vmc"


def _performance(args: argparse.Namespace, model: HeadModel) -> Performance:
    names = model.expression_names
    if not names and not args.video:
        raise InputError(
            f"{args.head_model}: its expressions have no names, so only faces can drive it: --video"
        )
    if args.csv:
        return read_livelink(args.csv, names, model.jaw_open_angle)
    if args.arkit:
        return read_arkit(args.arkit, names, model.jaw_open_angle)
    if args.vmc is not None:
        with listening(args.vmc) as listener:
            return record_vmc(listener, names, model.jaw_open_angle, args.seconds)
    nets = FaceNets()
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(Path(folder), nets, quiet=args.quiet)
        clips = [stages.clip(args.video, Settings(size=256, face=args.face), LEAST_DRIVING)]
        table = tied(model, nets)
        clips, fits = checked(clips, stages.fitted(clips, model, table), LEAST_DRIVING)
    return Performance(fits[0].expression, fits[0].pose, clips[0].seen.times)


def listening(port: int) -> socket.socket:
    """A socket that packets of this machine alone reach; InputError where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        listener.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"--vmc {port}: cannot listen there ({error})") from None
    return listener


def record_vmc(
    listener: socket.socket, names: tuple[str, ...], jaw_open: float | None, seconds: float
) -> Performance:
    """What a VMC sender sends for so long, or until it falls silent."""
    state, rows, times = VmcState(), [], []
    listener.settimeout(QUIET)
    begun, start = time.monotonic(), None
    while time.monotonic() - (start or begun) < seconds:
        try:
            data = listener.recv(MAX_PACKET)
        except TimeoutError:
            break
        try:
            complete = state.take(data)
        except InputError:
            continue  # anything may be sent to a port
        if complete:
            start = start or time.monotonic()
            rows.append(state.scores)
            times.append(time.monotonic() - start)
    if not rows:
        port = listener.getsockname()[1]
        raise InputError(f"--vmc {port}: no blendshapes came within {QUIET:g} s; is VMC sending?")
    return from_scores(rows, times, names, jaw_open)


def _live(args: argparse.Namespace, stage: Avatar, model: HeadModel) -> None:
    nets = FaceNets()
    table = tied(model, nets)
    tracker = LiveTracker(
        nets, PointHead.of(model, table), columns_of(model), table, Settings().focal
    )
    frames = _camera(args.camera)
    print(f"look into the camera with a neutral face for {CALIBRATION:.0f} seconds")
    first, start = [], None
    for moment, picture in frames:
        start = moment if start is None else start
        first.append((moment, picture))
        if moment - start >= CALIBRATION:
            break
    if not first:
        raise InputError(f"--camera {args.camera}: it gives no picture; check its number")
    tracker.calibrate(first)
    known = tracker.known
    puppet = stage.puppet(model, (known.expression[0], known.pose[0]), args)
    out, count, began = args.out or stage.place("camera"), 0, time.perf_counter()
    wanted = takewhile(lambda frame: frame[0] - start < args.seconds, frames)
    tracked = (tracker.track(picture) for _, picture in wanted)
    with VideoWriter(out, 25.0) as video:
        for seen in ahead(tracked):
            if seen is not None:
                video.add(stage.draw(puppet.frame(*seen)))
                count += 1
    spent = time.perf_counter() - began
    print(f"{count} frames, {count / max(spent, 1e-9):.1f} a second tracked and drawn: {out}")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order, each made in a second thread while the one before is at work."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item


def _camera(name: str) -> Iterator[tuple[float, object]]:
    """Seconds and pictures of a camera, or of a file that plays as fast as it is read."""
    if not name.isdecimal():
        yield from Source(user_path(name), fps=0).frames()
        return
    capture = cv2.VideoCapture(int(name))
    try:
        while True:
            good, pixels = capture.read()
            if not good:
                return
            yield time.monotonic(), cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


if __name__ == "__main__":
    main()
