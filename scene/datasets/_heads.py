"""What the readers of talking heads share: parts of the pictures, numbers of the tracker, the
mouth's box, and the video.

The world of a head dataset is the head's own frame, near whose origin the head is, unless its
frames say where the head stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import intrinsics
from scene.datasets._entry import Entry
from scene.datasets._files import natural
from scene.datasets._moments import last_moments, time_of
from scene.datasets._points import cube_about
from scene.datasets._settings import HoldOut, MouthBox, Plate
from scene.frames import Frame, PointCloud, from_aside, pose_turns
from scene.paths import common_up, poses, swayed
from scene.world import Placed
from utils.errors import InputError
from utils.rotations import nearest_rigid, rigid_inverse

# Classes of CelebAMask-HQ that are the head: all but background, neck, necklace and cloth.
HEAD_LABELS = tuple((k, k, k) for k in (*range(1, 14), 17, 18))
TORSO_LABELS = tuple((k, k, k) for k in (14, 15, 16))  # neck, necklace, cloth
MAX_COEFFICIENT = 1e6  # beyond it a file is damaged: trackers give numbers around one
MAX_RELATIVE_FOCAL = 16.0  # focal lengths below it count in picture sides, others in pixels
MAX_RELATIVE_CENTER = 1.0  # the same for the principal point
# Half-pictures at the cameras' distance, from the head's origin: where a tracker of BFM's faces has
# the mouth of a head that fills the picture. Wide enough for an open mouth and a smile.
MOUTH_IN_PICTURE = ((-0.21, -0.43, 0.10), (0.21, -0.09, 0.35))
FARTHEST_TURN = math.radians(80)  # of a head from how it is held on average
YAW = math.radians(25)  # of the video's turn, to both sides
N_VIDEO_FRAMES = 200  # at most, for a turn to both sides and back


def head_scene(
    train: list[Frame],
    test: list[Frame],
    params: Placed,
    data: MouthBox,
    *,
    mouth: Tensor,
    val: Sequence[Frame] = (),
    points: PointCloud | None = None,
    subject: Subject | None = None,
) -> Scene:
    """The scene of a head; `mouth` is the family's box, which `data.mouth_box` replaces.

    Without `points` it starts from random ones about the head, out to nine tenths of the view.
    """
    _require_one_width([*train, *test, *val])
    train, test, val = with_bodies(train, test, val, shown=vars(data).get("part") != "head")
    cameras, middle = [frame.camera for frame in train], head_center(train)
    if points is None:
        points = cube_about(middle, cameras, params.init_points)
    given = [value / params.world.unit for value in data.mouth_box]
    regions = {"mouth": _mouth_box(given, mouth)}
    one_camera = len({frame.index for frame in train}) == len(train)
    video = _turn(test or train, middle, one_camera=one_camera)
    return Scene(train, test, video, points, val, subject, regions)


def with_bodies(
    train: list[Frame], *others: Sequence[Frame], shown: bool = True
) -> list[list[Frame]]:
    """Train and other frames with `body_to_world`, where the camera stands still, the world is the
    head's frame and the body is `shown`: where a body is that rests while the head moves as the
    tracker says.

    It rests where the mean training frame has it. A head that turns farther than heads do before
    a camera says that the camera moves.
    """
    splits = [train, *map(list, others)]
    places = torch.stack([rigid_inverse(_room(frame)) for frame in train])
    rest = nearest_rigid(places.mean(0))
    turned = (places[:, :3, :3] * rest[:3, :3]).sum((1, 2))  # 1 + 2 cos of the angle
    shown &= train[0].head_to_world is None  # the world is the head's frame
    shown &= float(turned.min()) > 1 + 2 * math.cos(FARTHEST_TURN)
    return [
        [replace(f, body_to_world=_room(f) @ rest if shown else None) for f in frames]
        for frames in splits
    ]


def _room(frame: Frame) -> Tensor:
    """(4, 4) from the room, where the camera stands still, to the head's frame."""
    if frame.body_to_world is not None:
        return frame.body_to_world  # of a family that says where the head is among its cameras
    return rigid_inverse(frame.camera.viewmat)


def head_center(frames: list[Frame]) -> Tensor:
    """(3,) where the origin of the head's frame is, in the world, on average over the frames."""
    places = [
        f.head_to_world[:3, 3] if f.head_to_world is not None else torch.zeros(3) for f in frames
    ]
    return torch.stack(places).mean(0)


def mouth_in_picture(frames: list[Frame]) -> Tensor:
    """The mouth's box where nobody says what the world's unit is: heads fill pictures alike."""
    cameras = [frame.camera for frame in frames]
    distance = poses(cameras)[:, :3, 3].norm(dim=1).median()
    half = float(distance) * math.tan(cameras[0].fov_x / 2)
    return half * torch.tensor(MOUTH_IN_PICTURE, dtype=torch.float64)


def split_video(
    frames: list[Frame], params: Placed, data: HoldOut, published: int
) -> tuple[list[Frame], list[Frame]]:
    """Train and test frames of one video: `published` held out, of a shorter one the last fifth."""
    fitting = published if published < len(frames) else round(len(frames) / 5)
    return last_moments(frames, params, data, fitting)


def in_order(frames: list[Entry]) -> list[Entry]:
    """The frames in the natural order of their pictures; InputError where two have the same one."""
    pictures = [frame.text("file_path") for frame in frames]
    order = sorted(range(len(frames)), key=lambda row: natural(pictures[row]))
    for row, after in pairwise(order):
        if pictures[row] == pictures[after]:
            raise InputError(
                f"{frames[after].where}: frame {row} has the same picture; remove one of them"
            )
    return [frames[row] for row in order]


def numbered(splits: Mapping[str, list[tuple[str, Frame]]]) -> dict[str, list[Frame]]:
    """Frames with row and time over all splits, by the natural order of their moments' names."""
    moments = {moment for frames in splits.values() for moment, _ in frames}
    order = sorted(moments, key=lambda moment: (natural(moment), moment))
    rows = {moment: row for row, moment in enumerate(order)}
    return {
        name: [replace(f, index=rows[m], time=time_of(rows[m], len(rows))) for m, f in frames]
        for name, frames in splits.items()
    }


def coefficients(entry: Entry, key: str, count: int = -1) -> Tensor:
    """(count,) float32 numbers of a tracker; any number of them where `count` is -1."""
    return bounded(f"{entry.where}: {key!r}", entry.numbers(key, (count,)))


def bounded(where: str, values: Tensor) -> Tensor:
    """`values` as float32; InputError where one is no number that a tracker gives."""
    if values.abs().max() > MAX_COEFFICIENT:
        raise InputError(f"{where}: it holds numbers beyond {MAX_COEFFICIENT:g}; write it again")
    return values.float()


def signed_intrinsics(entry: Entry, width: int, height: int) -> Tensor:
    """(3, 3) from `intrinsics` [fx, fy, cx, cy], in pixels; the sign of fx stays.

    NeRFace gives focal lengths in pixels and the principal point in parts of the picture, IMavatar
    all in parts, its older files all in pixels: so each number is what its size says.
    """
    fx, fy, cx, cy = entry.numbers("intrinsics", (4,)).tolist()
    for center, size in ((cx, width), (cy, height)):
        if center > MAX_RELATIVE_CENTER and not size / 4 <= center <= size * 3 / 4:
            raise InputError(
                f"{entry.where}: 'intrinsics' put the principal point at {center:g} of "
                f"{size} pixels; they are of pictures of another size: give all four in parts of "
                "the picture"
            )
    fx, fy = (
        f * size if abs(f) < MAX_RELATIVE_FOCAL else f for f, size in ((fx, width), (fy, height))
    )
    cx, cy = (
        c * size if c <= MAX_RELATIVE_CENTER else c for c, size in ((cx, width), (cy, height))
    )
    return intrinsics(fx, fy, cx, cy)


def plate(data: Plate, part: str, file: Path) -> Path | None:
    """The picture of the empty room, `file`, if `data.plate` asks for it."""
    if not data.plate:
        return None
    if part != "all":
        raise InputError(
            f"{file.parent}: plate needs part='all', not {part!r}: masks take the room away"
        )
    if not file.is_file():
        raise InputError(
            f"{file}: not found; put the picture of the empty room there or leave plate out"
        )
    return file


def need_folder(folder: Path, part: str) -> None:
    """InputError where the folder that the setting `part` needs is not there."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, which part={part!r} needs; add it or choose another part"
        )


def _mouth_box(given: list[float], default: Tensor) -> Tensor:
    """(2, 3) lowest and highest corner."""
    if not given:
        return default.float()
    if len(given) != 6:
        raise InputError(
            f"mouth_box has {len(given)} numbers; expected six: the lowest x y z, the highest x y z"
        )
    box = torch.tensor(given).reshape(2, 3)
    if not bool((box[0] < box[1]).all()):
        raise InputError(f"mouth_box is {given}; expected the lowest corner before the highest")
    return box


def _require_one_width(frames: list[Frame]) -> None:
    width = len(frames[0].expression)
    for frame in frames:
        if len(frame.expression) != width:
            raise InputError(
                f"{frame.image_path}: its frame has {len(frame.expression)} expression "
                f"coefficients, {frames[0].image_path} has {width}; give all the same number"
            )


def _turn(shown: list[Frame], middle: Tensor, *, one_camera: bool) -> list[Frame]:
    """The moments of `shown` play while the first camera sways about the head's upright axis.

    A body that `one_camera` saw, from its front alone, stays before it and follows the head; so do
    poses that say how the head turns. There is no plate: a picture of the room would not turn with
    the camera.
    """
    first: dict[int, Frame] = {}
    for frame in shown:
        first.setdefault(frame.index, frame)
    moments = list(first.values())[:N_VIDEO_FRAMES]
    up, posed = common_up([frame.camera for frame in shown]), pose_turns(shown)
    frames = []
    for k, frame in enumerate(moments):
        camera = swayed(shown[0].camera, middle, up, YAW, k / len(moments))
        turned = from_aside(frame, camera, one_camera=one_camera, pose_turns=posed)
        frames.append(replace(turned, image_path=None, mask=None, plate_path=None))
    return frames
