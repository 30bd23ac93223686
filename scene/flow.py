"""Optical flow from every frame to the one that follows it: computed by OpenCV's DIS, or read from
files, with a mask that says where it is trusted."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene.frames import Frame, FrameLoader
from utils.devices import CPU
from utils.errors import InputError
from utils.files import inside, reading, regular, replacing
from utils.tensors import read_tensors, write_tensors

FLOWS = "flow.safetensors"  # in the folder of a run
LONGEST = 256  # pixels of a side of the pictures that are compared, at most
# Forward and backward flow agree where the square of their sum is under a share of their own
# squares and a little more (Sundaram et al., ECCV 2010, equation 5).
SHARE, LITTLE = 0.01, 0.5
# Degrees between the cameras of two frames beyond which nothing is compared: what such pictures
# seem to share agrees in both directions and is wrong all the same.
LARGEST_JUMP = 20.0
KEY = "key"  # of the frames that a file of flows is of
SUFFIXES = (".npy", ".pt", ".pth")


def following(frames: list[Frame]) -> list[int]:
    """For each frame the number of the one at the next moment, -1 at the last; of a rig's the one
    whose camera is nearest."""
    times = sorted({frame.time for frame in frames})
    later = dict(pairwise(times))
    at: dict[float, list[int]] = {}
    for k, frame in enumerate(frames):
        at.setdefault(frame.time, []).append(k)
    centers = torch.stack([frame.camera.center for frame in frames])
    found = []
    for k, frame in enumerate(frames):
        there = at.get(later.get(frame.time), [])
        distance = (centers[there] - centers[k]).norm(dim=1)
        found.append(there[int(distance.argmin())] if there else -1)
    return found


def with_flow(
    frames: list[Frame], folder: Path, given: str = ""
) -> tuple[list[Frame], float | None]:
    """The frames with their flow, (3, h, w) half precision: pixels of pictures of at most
    `LONGEST`, x and y, and trust, None where nothing of it is trusted; and what share of the
    subject is, None where no frame follows another.

    Read from the files in the folder `given`, otherwise computed once and kept in `folder`.
    Raises InputError naming a file that does not fit.
    """
    after = following(frames)
    flows = _read_folder(Path(given), frames, after) if given else _computed(frames, after, folder)
    share = _trusted(frames, flows)
    flows = {k: flow for k, flow in flows.items() if bool(flow[2].any())}
    return [replace(frame, flow=flows.get(k)) for k, frame in enumerate(frames)], share


def subject(frame: Frame) -> Tensor:
    """(H, W) bool, which pixels of a loaded frame show the subject: those of its mask; without one
    those that its alpha covers and that differ from the background, so that neither an empty room
    nor a white floor counts."""
    shown = frame.alpha[0] > 0.5
    if frame.mask is not None:
        return shown
    behind = frame.background.reshape(3, *frame.background.shape[1:] or (1, 1))
    return shown & ((frame.image - behind).abs().amax(0) > ALIKE)


ALIKE = 0.02  # of a colour's range: what is as near to the background shows nothing


def between(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Flow and trust (h, w, 3) from one grey picture (h, w) to another: pixels x and y; 1 where
    the flow back agrees and leads from within the picture, else 0."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = dis.calc(one, other, None), dis.calc(other, one, None)
    height, width = one.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + there[..., 0], y + there[..., 1]
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR)
    squares = (there**2).sum(2) + (returned**2).sum(2)
    agrees = ((there + returned) ** 2).sum(2) < SHARE * squares + LITTLE
    agrees &= (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return np.dstack([there, agrees.astype(np.float32)])


def _computed(frames: list[Frame], after: list[int], folder: Path) -> dict[int, Tensor]:
    """The flow of each frame that another follows, from the file in `folder` or its pictures."""
    file, key = inside(folder, folder / FLOWS), _key(frames)
    if file.exists():
        stored = read_tensors(file)
        if torch.equal(stored.pop(KEY, key[:0]), key):
            return {int(name): flow for name, flow in stored.items()}
    pictures = [_grey(frame) for frame in frames]
    flows = {}
    for k, other in ((k, other) for k, other in enumerate(after) if other >= 0):
        if _degrees_apart(frames[k], frames[other]) <= LARGEST_JUMP:
            flows[k] = _half(between(pictures[k], pictures[other]))
        else:
            flows[k] = torch.zeros(3, *pictures[k].shape, dtype=torch.half)
    with replacing(file) as temporary:
        write_tensors(temporary, {KEY: key, **{str(k): flow for k, flow in flows.items()}})
    return flows


def _degrees_apart(one: Frame, other: Frame) -> float:
    """Between the directions in which two cameras look."""
    cosine = float(one.camera.forward @ other.camera.forward)
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))


def _grey(frame: Frame) -> NDArray[np.uint8]:
    """The frame's picture on mid grey, of at most `LONGEST` pixels a side."""
    image = FrameLoader(0, CPU).load(_small(frame), torch.full((3,), 0.5)).image
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _small(frame: Frame) -> Frame:
    camera = frame.camera
    factor = min(LONGEST / max(camera.width, camera.height), 1.0)
    size = (max(round(side * factor), 16) for side in (camera.width, camera.height))
    return replace(frame, camera=camera.resized(*size))


def _half(flow: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(flow).permute(2, 0, 1).half().contiguous()


def _key(frames: list[Frame]) -> Tensor:
    """(32,) bytes that tell these frames' pictures from others."""
    said = []
    for frame in frames:
        files = (frame.image_path, frame.mask and frame.mask.path)
        names = [(file.name, file.stat().st_size) for file in files if file]
        looks = [round(part, 3) for part in frame.camera.forward.tolist()]
        said.append((names, frame.time, looks, frame.camera.width, frame.camera.height))
    return torch.tensor(list(hashlib.sha256(repr(said).encode()).digest()), dtype=torch.uint8)


def _read_folder(folder: Path, frames: list[Frame], after: list[int]) -> dict[int, Tensor]:
    """Files in the order of their names are the flows of frames in the order of their times."""
    files = sorted(file for file in folder.glob("*") if file.suffix in SUFFIXES)
    order = sorted(range(len(frames)), key=lambda k: frames[k].time)
    wanted = [k for k in order if after[k] >= 0]
    if len(files) not in (len(wanted), len(order)):
        raise InputError(
            f"{folder}: {len(files)} files of flow ({', '.join(SUFFIXES)}), expected "
            f"{len(wanted)}, one for each training frame that another follows, in their order; "
            "scripts/make_flow.py writes such a folder"
        )
    return {k: _read(file) for k, file in zip(wanted, files, strict=False)}


def _read(file: Path) -> Tensor:
    regular(file)
    with reading(file, "a flow (H, W, 2) in pixels, or (H, W, 3) with its trust"):
        if file.suffix == ".npy":
            flow = np.load(file, allow_pickle=False)
        else:
            flow = torch.load(file, weights_only=True, map_location="cpu").numpy()
        if flow.ndim != 3 or flow.shape[2] not in (2, 3) or not np.isfinite(flow).all():
            raise ValueError(f"found {flow.shape}, or numbers that are not finite")
    flow = flow.astype(np.float32)
    if flow.shape[2] == 2:
        flow = np.dstack([flow, np.ones_like(flow[..., 0])])
    height, width = flow.shape[:2]
    factor = min(LONGEST / max(height, width), 1.0)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    small = cv2.resize(flow, size, interpolation=cv2.INTER_AREA)
    return _half(small * np.float32([size[0] / width, size[1] / height, 1]))


def _trusted(frames: list[Frame], flows: dict[int, Tensor]) -> float | None:
    """The share of the subject's pixels whose flow is trusted."""
    if not flows:
        return None
    all_pixels = kept = 0.0
    for k, flow in flows.items():
        height, width = flow.shape[1:]
        small = replace(frames[k], camera=frames[k].camera.resized(width, height))
        shown = subject(FrameLoader(0, CPU).load(small, torch.ones(3)))
        all_pixels += float(shown.sum())
        kept += float((flow[2].float() * shown).sum())
    return kept / max(all_pixels, 1.0)
