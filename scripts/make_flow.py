"""Write the optical flow of every training frame to the next one, with its trust, as files that
train.py reads: python scripts/make_flow.py -s DATA -o FOLDER, then train.py --flow_folder FOLDER

Methods that need flow compute it by themselves; this is for a look at it, and a start for files of
another tool: <k>.npy (H, W, 3) holds pixels x and y, and 1 where it is trusted; <k>.png shows it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from arguments.settings import ModelParams
from scene import load_scene
from scene.flow import following, with_flow
from scene.frames import Frame
from utils.errors import run_command
from utils.files import new_folder


def make_flow(source: str, out: Path, resolution: int, dataset: str) -> str:
    """Write the folder `out`; returns what was found, in words.

    Raises InputError for data that cannot be read and for a folder that cannot be written.
    """
    params = ModelParams(source_path=source, model_path="", resolution=resolution)
    frames = sorted(load_scene(dataset, params).train, key=lambda frame: frame.time)
    with tempfile.TemporaryDirectory() as unused:
        flowing, share = with_flow(frames, Path(unused))
    followed = [k for k, other in enumerate(following(frames)) if other >= 0]
    flows = [_with_trust(flowing[k]) for k in followed]
    with new_folder(out, "free some space there or choose another folder with -o") as part:
        for k, flow in enumerate(flows):
            np.save(part / f"{k:05d}.npy", flow)
            (part / f"{k:05d}.png").write_bytes(cv2.imencode(".png", coloured(flow))[1].tobytes())
    trusted = "" if share is None else f"; {share:.0%} of the subject's pixels are trusted"
    return f"{out}: {len(flows)} flows of {len(frames)} frames{trusted}"


def _with_trust(frame: Frame) -> np.ndarray:
    """(H, W, 3); zeros where nothing is trusted."""
    if frame.flow is None:
        return np.zeros((frame.camera.height, frame.camera.width, 3), np.float32)
    return frame.flow.float().permute(1, 2, 0).numpy()


def coloured(flow: np.ndarray) -> np.ndarray:
    """BGR: direction as hue, length as strength; black where it is not trusted."""
    angle, length = np.arctan2(flow[..., 1], flow[..., 0]), np.hypot(flow[..., 0], flow[..., 1])
    strength = np.minimum(length / max(np.quantile(length, 0.99), 1e-6), 1)
    hsv = np.dstack([(angle / np.pi + 1) * 90, 255 * strength, 255 * flow[..., 2]])
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-s", "--source_path", required=True, help="dataset folder")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    parser.add_argument("-r", "--resolution", type=int, default=-1, help="as of train.py")
    parser.add_argument("--dataset", default="auto", help="reader; default auto")
    flags = parser.parse_args(argv)
    run_command(
        lambda: print(make_flow(flags.source_path, flags.out, flags.resolution, flags.dataset)),
        debug=False,
    )


if __name__ == "__main__":
    main()
