"""One head for a whole clip: identity, and pose and expression of every frame, fitted at once.

The camera stands at the origin with OpenCV's axes; the head's own axes are y up, the face to +z.
A frame's head is turned by its neck (the root stays), and moved by a translation. Everything is
fitted by Adam to the 468 points and two irises, in pixels of a face crop 512 wide, so that weights
and errors mean the same for every clip. The focal length is given: points do not tell it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from capture.eyes import Eyes
from capture.find import Found
from capture.nets import FACE_CROP, LEFT_EYE, LEFT_LIDS, RIGHT_EYE, RIGHT_LIDS
from capture.table import (
    CONTOUR,
    LEFT_LID_PAIRS,
    LIP_PAIRS,
    LIPS,
    RIGHT_LID_PAIRS,
    PointHead,
    features,
)
from scene.head.model import HeadModel
from utils.rotations import axis_angle_to_matrices

FOCAL = 2.2  # longer sides of the video, where nobody knows the lens
CROP = 512.0  # pixels of the face crop that errors count in
N_SHAPES = 60
NECK, JAW, LEFT_GAZE, RIGHT_GAZE = 3, 6, 9, 12  # places in the 15 numbers of a pose
GAZE_ANGLE = 0.35  # radians at which an eyeLook column is 1 (docs/head-model.md)
FLIP = torch.tensor([1.0, -1.0, -1.0])  # from the head's axes to OpenCV's
STEPS, STEPS_AGAIN = 180, 80  # of the first fit, and after the poses were refined
STIFF = 0.5  # of the steps in which nobody has points of their own
FACE_WIDE = 0.24  # metres that a face crop shows
HUBER = 6.0  # pixels
OPENING = (
    "mouthLowerDown",
    "mouthUpperUp",
    "mouthShrug",
    "mouthFunnel",
    "mouthClose",
    "mouthRoll",
    "jawForward",
)
EXPRESSION, UNNAMED = "expression ", 50
NAMED_LIMITS, UNNAMED_LIMITS = (0.0, 1.2), (-2.5, 2.5)  # scores; standard deviations
DERIVED = ("eyeLook", "eyeBlink")  # beginnings of the columns that are no unknowns
RATES = {
    "shape": 0.05,
    "offset": 2e-4,
    "slides": 2e-4,
    "turn": 0.006,
    "place": 0.002,
    "jaw": 0.008,
    "gaze": 0.01,
    "expression": 0.02,
}


@dataclass(frozen=True)
class Weights:
    """Of the loss's terms; a point of the inner face has 1."""

    lips: float = 2.0
    lids: float = 0.2
    iris: float = 10.0
    contour: float = 0.05  # the net's outline bends identities, and follows jaws only halfway
    opening: float = 5.0  # of the columns that part the lips: times the others
    parting: float = 0.5  # of what expressions part the lips by, which the jaw should do
    lip_gap: float = 6.0
    lid_gap: float = 20.0
    shape: float = 0.5  # per squared standard deviation, times the points
    offset: float = 0.5  # per squared spread of the table
    size: float = 20.0  # of expressions: L2
    sparse: float = 6.0  # L1
    mean: float = 300.0  # of the mean expression
    sides: float = 1.0  # left and right alike
    jaw: float = 0.2
    smooth: float = 2.0  # second differences


@dataclass(frozen=True)
class Fit:
    """T frames of one head."""

    shape: Tensor  # (S,)
    offset: Tensor  # (470, 3) metres, the person's own places of the points
    pose: Tensor  # (T, 15)
    expression: Tensor  # (T, E)
    shift: Tensor  # (T, 3) metres, from the turned head to the camera, OpenCV axes
    points: Tensor  # (T, 470, 2) pixels, where the fitted points are seen
    error: Tensor  # (T,) mean distance of the inner points that face the camera, CROP pixels
    focal: Tensor  # (T,) pixels

    def part(self, kept: np.ndarray) -> Fit:
        """Of some of the frames."""
        cut = {name: getattr(self, name)[kept] for name in PER_FRAME}
        return Fit(**{f.name: cut.get(f.name, getattr(self, f.name)) for f in fields(self)})


PER_FRAME = ("pose", "expression", "shift", "points", "error", "focal")


def fit(
    head: PointHead,
    names: tuple[str, ...],
    found: Found,
    eyes: Eyes,
    *,
    focal: np.ndarray,
    groups: np.ndarray | None = None,
    weights: Weights | None = None,
    steps: int = STEPS,
    held: Fit | None = None,
) -> Fit:
    """Fit all frames, each of which has a face.

    Args:
        names: of the head's expression columns.
        focal: (T,) pixels; the principal point is the picture's middle.
        groups: (T,) numbers of the frames; smoothness holds where three follow each other.
        held: a fit to go on from, whose head turns and places stay. Then the person's points also
            slide in their own way with the direction that the head is seen from; before, slides and
            turns could not be told apart.
    """
    w = weights or Weights()
    job = _Job.of(head, names, found, eyes, focal, groups)
    values = job.start() if held is None else job.values_of(held)
    still = ("slides",) if held is None else ("turn", "place")
    moving = {name: value for name, value in values.items() if name not in still}
    optimizer = torch.optim.Adam(
        [{"params": [value], "lr": RATES[name]} for name, value in moving.items()],
        betas=(0.9, 0.98),
    )
    stiff = STIFF if held is None else 0.0
    for step in range(steps):
        part = step / steps
        for group, name in zip(optimizer.param_groups, moving, strict=True):
            group["lr"] = RATES[name] * min(1.0, 3.3 * (1 - part)) * min(1.0, (step + 1) / 10)
        optimizer.zero_grad()
        job.loss(values, w, stiff=part < stiff).backward()
        if part < stiff:
            values["offset"].grad = None
        optimizer.step()
        with torch.no_grad():
            values["expression"].clamp_(*limits_of(names))
    return job.result(values)


@dataclass(frozen=True)
class _Job:
    """What the loss needs, fixed while fitting."""

    head: PointHead
    names: tuple[str, ...]
    seen: Tensor  # (T, 470, 2) pixels
    scale: Tensor  # (T,) from pixels to those of the face crop
    focal: Tensor  # (T,) pixels
    middle: Tensor  # (2,) principal point
    eyes: Eyes
    center: Tensor  # (3,) middle of the face at rest
    joined: Tensor  # (T - 2,) 1 where three frames follow each other
    normals: Tensor  # (470, 3) roughly outwards, level
    kind: Tensor  # (470,) 0 inner, 1 lips, 2 lids, 3 iris, 4 contour
    sliding: Tensor  # (470,) 0 of lids and irises, whose gap says how far eyes are open, else 1
    free: Tensor  # (E,) 1 where a column is an unknown

    @classmethod
    def of(cls, head, names, found, eyes, focal, groups) -> _Job:
        irises = found.irises[:, :, 0]  # the middles
        seen = torch.from_numpy(np.concatenate((found.points[..., :2], irises), 1)).float()
        box = found.boxes
        side = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
        number = np.arange(len(seen)) if groups is None else groups
        joined = torch.from_numpy((number[2:] - number[:-2] == 2).astype(np.float32))
        kind = torch.zeros(len(head.template), dtype=torch.int64)
        for value, rows in (
            (4, CONTOUR),
            (1, LIPS),
            (2, RIGHT_LIDS + LEFT_LIDS),
            (3, (468, 469)),
        ):
            kind[list(rows)] = value
        free = torch.tensor([float(not name.startswith(DERIVED)) for name in names])
        return cls(
            head=head,
            names=names,
            seen=seen,
            scale=torch.from_numpy(CROP / (FACE_CROP * side)).float(),
            focal=torch.from_numpy(np.asarray(focal)).float(),
            middle=torch.from_numpy(found.size / 2).float(),
            eyes=eyes,
            joined=joined,
            center=head.template[kind == 0].mean(0),
            normals=outward(head),
            kind=kind,
            sliding=((kind != 2) & (kind != 3)).float(),
            free=free,
        )

    def start(self) -> dict[str, Tensor]:
        """Every frame by itself: where a head at rest is seen like its points (SQPNP), twice, since
        the points slide with the turn."""
        n = len(self.seen)
        turn, place = self._alone(torch.zeros(n, features(torch.zeros(3)).shape[-1]))
        shift = self._shift(turn, place)
        pose = torch.cat((torch.zeros(n, 3), turn, torch.zeros(n, 9)), 1)
        turn, place = self._alone(features(directions(pose, shift)))
        values = {
            "shape": torch.zeros(min(N_SHAPES, self.head.shape_basis.shape[-1])),
            "offset": torch.zeros_like(self.head.template),
            "slides": torch.zeros_like(self.head.slides),
            "turn": turn,
            "place": place,
            "jaw": torch.zeros(n, 3),
            "gaze": torch.zeros(n, 2, 2),
            "expression": torch.zeros(n, len(self.names)) + 0.02,
        }
        values["jaw"][:, 0] = 0.03
        return {name: value.requires_grad_() for name, value in values.items()}

    def values_of(self, fit: Fit) -> dict[str, Tensor]:
        """The unknowns of an earlier fit."""
        turn = fit.pose[:, NECK:JAW]
        values = {
            "shape": fit.shape,
            "offset": fit.offset,
            "slides": torch.zeros_like(self.head.slides),
            "turn": turn,
            "place": fit.shift - self._shift(turn, torch.zeros_like(fit.shift)),
            "jaw": fit.pose[:, JAW:LEFT_GAZE],
            "gaze": fit.pose[:, LEFT_GAZE:].unflatten(1, (2, 3))[..., :2],
            "expression": fit.expression * self.free,
        }
        return {name: value.clone().requires_grad_() for name, value in values.items()}

    def _alone(self, seen_from: Tensor) -> tuple[Tensor, Tensor]:
        """Turn (T, 3) and place (T, 3) of a rest head with points slid as `seen_from` (T, 5)."""
        inner = (self.kind == 0).numpy()
        slid = torch.einsum("tf,pcf->tpc", seen_from, self.head.slides)
        rest = (self.head.template + slid - self.center).double().numpy()
        (x, y), focal = self.middle.tolist(), self.focal.tolist()
        turn, place = np.zeros((len(rest), 3)), np.zeros((len(rest), 3))
        flip = np.diag(FLIP.numpy())
        for k, seen in enumerate(self.seen.double().numpy()):
            K = np.array([[focal[k], 0, x], [0, focal[k], y], [0, 0, 1]])
            _, spun, moved = cv2.solvePnP(
                rest[k, inner], seen[inner], K, None, flags=cv2.SOLVEPNP_SQPNP
            )
            turn[k] = cv2.Rodrigues(flip @ cv2.Rodrigues(spun)[0])[0][:, 0]
            place[k] = moved[:, 0]
        return torch.from_numpy(turn).float(), torch.from_numpy(place).float()

    def _shift(self, turn: Tensor, place: Tensor) -> Tensor:
        """(T, 3) the head's translation, for its turn about the neck and where its middle is.

        Turns about the neck move the face, which a translation undoes: fitted as a turn about the
        face's middle and the place of that, the two do not fight.
        """
        neck = self.head.joints[1]
        arm = (axis_angle_to_matrices(turn) @ (self.center - neck)[:, None])[..., 0]
        return place - (arm + neck) * FLIP

    def codes(self, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pose (T, 15) and whole expression (T, E) of the unknowns."""
        turn, jaw, gaze = values["turn"], values["jaw"], values["gaze"]
        nothing = torch.zeros_like(turn)
        roll = torch.zeros_like(gaze[..., :1])
        eyes = torch.cat((gaze, roll), -1).flatten(1)
        derived = derived_columns(self.names, gaze, self.eyes.blink)
        expression = values["expression"] * self.free + derived
        return torch.cat((nothing, turn, jaw, eyes), 1), expression

    def own(self, values: dict[str, Tensor], toward: Tensor) -> Tensor:
        """(T, 470, 3) metres, what of each point's place is the person's, seen from there."""
        slides = values["slides"] * self.sliding[:, None, None]
        return values["offset"] + torch.einsum("tf,pcf->tpc", features(toward), slides)

    def place(self, values: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points in the head's turned frame (T, 470, 3), in pixels (T, 470, 2), how much they face
        the camera (T, 470), and the directions to the camera (T, 3)."""
        pose, expression = self.codes(values)
        shift = self._shift(values["turn"], values["place"])
        toward = directions(pose.detach(), shift.detach())
        points, _ = self.head.posed(
            pose, values["shape"], expression, self.own(values, toward), features(toward)
        )
        local = points * FLIP + shift[:, None]
        pixels = self.focal[:, None, None] * local[..., :2] / local[..., 2:] + self.middle
        return points, pixels, toward @ self.normals.T, toward

    def loss(self, values: dict[str, Tensor], w: Weights, *, stiff: bool) -> Tensor:
        points, pixels, facing, toward = self.place(values)
        off = (pixels - self.seen) * self.scale[:, None, None]
        kinds = torch.tensor([1.0, w.lips, w.lids, w.iris, w.contour])[self.kind]
        weight = kinds * ((facing + 0.1) / 0.3).clamp(0, 1)
        open_eyes = 1 - self.eyes.blink.clamp(0, 1)
        weight[:, 468:] = w.iris * open_eyes * self.eyes.trust
        total = (weight * huber(off)).sum()
        for pairs in (LIP_PAIRS,):
            a, b = torch.tensor(pairs).T
            total = total + w.lip_gap * huber(off[:, a] - off[:, b]).sum()
        gap = self._lid_gaps(points)
        rest = self._lid_gaps(self._at_rest(values))
        wanted = rest * (1 - self.eyes.closing)
        off_lids = (gap - wanted) * CROP / 4  # an eye is about a quarter of the crop wide
        total = total + w.lid_gap * (self.eyes.trust * off_lids.square()).sum()
        return total + self._priors(values, w, None if stiff else self.own(values, toward))

    def _priors(self, values: dict[str, Tensor], w: Weights, own: Tensor | None) -> Tensor:
        """Of the unknowns; `own` (T, 470, 3) is what of the points is the person's, if anything."""
        n, count = len(self.seen), len(self.head.template)
        expression = values["expression"] * self.free
        total = w.shape * count * n * 0.02 * values["shape"].square().sum()
        if own is not None:
            far = own / self.head.spread[:, None].clamp(1e-3, 4e-3)
            total = total + w.offset * far.square().sum()
            # A mouth that is open at rest would stand in for the jaw.
            a, b = torch.tensor(LIP_PAIRS).T
            parted = (own[:, a] - own[:, b]) / 5e-4
            total = total + w.offset * parted.square().sum()
        opening = torch.tensor([name.startswith(OPENING) for name in self.names])
        dear = torch.where(opening, w.opening, 1.0)
        total = total + (dear * (w.size * expression.square() + w.sparse * expression.abs())).sum()
        a, b = torch.tensor(LIP_PAIRS).T
        basis = self.head.expression_basis[:, 1, : len(self.names)]
        parts = basis[b] - basis[a]
        parted = expression @ parts.T * (CROP / FACE_WIDE)
        total = total + w.parting * parted.square().sum()
        total = total + w.mean * n * expression.mean(0).square().sum()
        left, right = side_columns(self.names)
        total = total + w.sides * (expression[:, left] - expression[:, right]).square().sum()
        jaw = values["jaw"] / torch.tensor([0.3, 0.05, 0.02])
        total = total + w.jaw * (jaw.square() * torch.tensor([0.2, 1.0, 5.0])).sum()
        gaze = values["gaze"]
        total = total + 200 * (gaze[:, 0] - gaze[:, 1]).square().sum() + 2 * gaze.square().sum()
        # In about the noise that one frame has alone.
        for name, unit in (("turn", 0.005), ("place", 0.002), ("jaw", 0.2), ("expression", 0.2)):
            bend = values[name][2:] - 2 * values[name][1:-1] + values[name][:-2]
            total = total + w.smooth * (self.joined[:, None] * (bend / unit).square()).sum()
        return total

    def _at_rest(self, values: dict[str, Tensor]) -> Tensor:
        """(1, 470, 3) the person without an expression."""
        pose, none = torch.zeros(1, 15), torch.zeros(1, len(self.names))
        return self.head.posed(pose, values["shape"], none, values["offset"])[0]

    def _lid_gaps(self, points: Tensor) -> Tensor:
        """(T, 2) of the right and the left eye, over its width."""
        gaps = []
        for pairs, corners in ((RIGHT_LID_PAIRS, RIGHT_EYE), (LEFT_LID_PAIRS, LEFT_EYE)):
            a, b = torch.tensor(pairs[:3]).T
            gap = (points[:, a] - points[:, b]).square().sum(-1).add(1e-10).sqrt().mean(1)
            width = (points[:, corners[0]] - points[:, corners[1]]).norm(dim=-1)
            gaps.append(gap / width)
        return torch.stack(gaps, 1)

    @torch.no_grad()
    def result(self, values: dict[str, Tensor]) -> Fit:
        _, pixels, facing, _ = self.place(values)
        pose, expression = self.codes(values)
        off = (pixels - self.seen).norm(dim=-1) * self.scale[:, None]
        counts = (self.kind < 3) * (facing > 0.2)
        error = (off * counts).sum(1) / counts.sum(1)
        shape = values["shape"].detach()
        shift = self._shift(values["turn"], values["place"])
        return Fit(
            shape,
            values["offset"].detach(),
            pose,
            expression,
            shift,
            pixels,
            error,
            self.focal,
        )


def outward(head: PointHead) -> Tensor:
    """(470, 3) level unit vectors, roughly the skin's normals at the points.

    They begin between outline and neck, so that the outline's sides face a camera in front a
    little: there they are what is seen of the face's width.
    """
    middle = (head.template[list(CONTOUR)].mean(0) + head.joints[1]) / 2
    out = (head.template - middle) * torch.tensor([1.0, 0, 1.0])
    return torch.nn.functional.normalize(out, dim=-1)


def directions(pose: Tensor, shift: Tensor) -> Tensor:
    """(T, 3) unit vectors from the head to the camera, in the head's own frame."""
    turn = axis_angle_to_matrices(pose[:, NECK : NECK + 3])
    toward = -(shift * FLIP)
    return torch.nn.functional.normalize((turn.mT @ toward[..., None])[..., 0], dim=-1)


def derived_columns(names: tuple[str, ...], gaze: Tensor, blink: Tensor) -> Tensor:
    """(T, E) the columns that follow from the gaze (T, 2, 2: left and right eye, pitch and yaw,
    radians) and from how far the eyes are shut (T, 2: right and left)."""
    columns = torch.zeros(len(gaze), len(names))
    pitch, yaw = (gaze / GAZE_ANGLE).unbind(-1)  # each (T, 2): left, right
    pieces = {}
    for eye, side in enumerate(("Left", "Right")):
        outward = yaw[:, eye] if side == "Left" else -yaw[:, eye]
        pieces[f"eyeLookDown{side}"] = pitch[:, eye].clamp(0, 1)
        pieces[f"eyeLookUp{side}"] = (-pitch[:, eye]).clamp(0, 1)
        pieces[f"eyeLookOut{side}"] = outward.clamp(0, 1)
        pieces[f"eyeLookIn{side}"] = (-outward).clamp(0, 1)
        pieces[f"eyeBlink{side}"] = blink[:, 1 - eye]
    known = [name for name in pieces if name in names]
    if not known:
        return columns
    index = torch.tensor([names.index(name) for name in known])
    return columns.index_add(1, index, torch.stack([pieces[name] for name in known], 1))


def side_columns(names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Columns of the left, and those of the right that they are the mirror of."""
    pairs = [
        (k, names.index(name.removesuffix("Left") + "Right"))
        for k, name in enumerate(names)
        if name.endswith("Left") and name.removesuffix("Left") + "Right" in names
    ]
    left, right = zip(*pairs, strict=True) if pairs else ((), ())
    return torch.tensor(left, dtype=torch.int64), torch.tensor(right, dtype=torch.int64)


def columns_of(model: HeadModel) -> tuple[str, ...]:
    """Names of the expression columns that are fitted: the model's own, else numbers of the first
    `UNNAMED`, as many as IMavatar's files hold of FLAME's."""
    count = min(UNNAMED, model.expression_basis.shape[-1])
    return model.expression_names or tuple(f"{EXPRESSION}{k}" for k in range(count))


def limits_of(names: tuple[str, ...]) -> tuple[float, float]:
    """Of expressions: names are scores, numbers are FLAME's components."""
    return UNNAMED_LIMITS if names[0].startswith(EXPRESSION) else NAMED_LIMITS


def huber(off: Tensor) -> Tensor:
    """Of distances of (..., 2): quadratic up to `HUBER` pixels, then linear."""
    square = off.square().sum(-1)
    far = square > HUBER**2
    length = torch.where(far, square, torch.ones_like(square)).sqrt()
    return torch.where(far, 2 * HUBER * length - HUBER**2, square) / 2
