"""Heads posed by FLAME: where a head stands, and points on its surface.

The head's frame is FLAME's own, in the units of the world: y up, the face to +z. Root and neck
carry it into the world; jaw, eyes and expression move within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import Camera
from scene.datasets import _settings
from scene.datasets._heads import head_center, head_scene
from scene.datasets._points import cube_about, grey
from scene.frames import Frame, PointCloud
from scene.head.files import load_head_model
from scene.head.landmarks import landmarks
from scene.head.model import HeadModel, axis_angle_to_matrices, joint_transforms, pose_head
from scene.head.points import on_surface as surface_points
from scene.world import Placed
from utils.random import generator

# Metres from the origin, about where models of FLAME's layout have root and neck. Without a model
# only the mouth's box hangs on them, and by a few millimetres.
USUAL_JOINTS = ((0.0, -0.11, -0.05), (0.0, -0.07, -0.03))
# Metres, in FLAME's frame: lips and chin of an average head, wide enough for an open mouth and a
# smile.
FLAME_MOUTH = ((-0.035, -0.075, 0.050), (0.035, -0.018, 0.090))
OWN_MODEL = "head_model.npz"  # in a subject's folder, where none is named
WANTED = "name the head model that they were fitted with by --head_model"
INNER = slice(17, 68)  # landmarks that do not slide along the jaw line
FITS = 0.05  # of the face's size: how far the landmarks of a model that fits may be off
LOOSE_POINTS = 5  # every so many points on the surface, one about it, for hair and shoulders


@dataclass(frozen=True)
class FlameHead:
    """One person's head, in the world's units."""

    subject: Subject
    model: HeadModel | None  # with the subject's shape; None where there is no file
    file: Path = Path()  # of the model

    @classmethod
    def of(cls, subject: Subject, data: _settings.HeadModel, folder: Path) -> FlameHead:
        """With the model of `data.head_model`, or of `OWN_MODEL` in the subject's folder; what it
        has no components for is left out."""
        file = Path(data.head_model) if data.head_model else folder / OWN_MODEL
        if not (data.head_model or file.is_file()):
            return cls(subject, None)
        model = load_head_model(file).scaled(subject.scale)
        known = model.shape_basis.shape[-1]
        misfit = _too_many(subject.shape, known, "identity", file)
        subject = replace(subject, misfit=misfit)
        return cls(subject, model.personal(subject.shape[:known]), file)

    def stands(
        self, flame_pose: Tensor, expression: Tensor, translation: Tensor | None = None
    ) -> Tensor:
        """(4, 4) from the head's frame to the world, for a pose (15,) and a translation (3,)."""
        turns = axis_angle_to_matrices(flame_pose[:6].reshape(2, 3))
        place = joint_transforms(turns, self._joints(expression), (-1, 0))[0][1]
        if translation is not None:
            place[:3, 3] += translation
        return place

    def neck(self, expression: Tensor) -> Tensor:
        """(3,) the joint that the head turns about, in the head's frame."""
        return self._joints(expression)[1]

    def scene(
        self,
        train: list[Frame],
        test: list[Frame],
        params: Placed,
        data: _settings.MouthBox,
        val: Sequence[Frame] = (),
    ) -> Scene:
        """The head's scene; with a model it starts on the surface, as the first frame shows it."""
        mouth = self.subject.scale * torch.tensor(FLAME_MOUTH, dtype=torch.float64)
        cameras = [frame.camera for frame in train]
        points = self._points(train[0], cameras, params.init_points)
        subject = replace(self.subject, model=self.model, misfit=self._misfit(train))
        return head_scene(
            train, test, params, data, mouth=mouth, val=val, points=points, subject=subject
        )

    def unlike(self, frame: Frame, keypoints: Tensor) -> str:
        """Why the model does not fit, seen by where it has the landmarks of a frame; "" where it
        may. `keypoints` (68 or more, 2) are where the tracker saw its own model's, in pixels."""
        if self.model is None or self.model.landmarks is None or len(keypoints) < INNER.stop:
            return ""
        known = self._known(frame.expression)
        posed = pose_head(self.model, frame.flame_pose, expression=known)
        places = frame.camera.project(landmarks(self.model, posed.vertices)[INNER])[0]
        wanted = keypoints[INNER]
        size = float((wanted.amax(0) - wanted.amin(0)).amax())
        off = float((places - wanted).norm(dim=1).median())
        if not size or off < FITS * size:
            return ""
        return (
            f"the landmarks of {self.file} lie {off / size:.0%} of the face's size from where the "
            f"tracker saw them in {frame.image_path}; {WANTED}"
        )

    def _misfit(self, frames: list[Frame]) -> str:
        if self.model is None or self.subject.misfit:
            return self.subject.misfit
        known = self.model.expression_basis.shape[-1]
        found = (_too_many(frame.expression, known, "expression", self.file) for frame in frames)
        return next(filter(None, found), "")

    def _points(self, frame: Frame, cameras: list[Camera], count: int) -> PointCloud | None:
        """`count` points on the head of `frame`, and a few about it; None without a model."""
        if self.model is None:
            return None
        pose = torch.zeros(15) if frame.flame_pose is None else frame.flame_pose.clone()
        pose[:6] = 0  # within the head's frame
        posed = pose_head(self.model, pose, expression=self._known(frame.expression))
        surface = on_surface(posed.vertices, self.model.faces, self.model.colors, count)
        xyz = surface.xyz
        if frame.head_to_world is not None:
            xyz = xyz @ frame.head_to_world[:3, :3].T + frame.head_to_world[:3, 3]
        loose = cube_about(head_center([frame]), cameras, count // LOOSE_POINTS)
        rgb = torch.cat([surface.rgb, loose.rgb])
        return PointCloud(torch.cat([xyz, loose.xyz]), rgb, self.model)

    def _known(self, expression: Tensor) -> Tensor:
        return expression[: self.model.expression_basis.shape[-1]]

    def _joints(self, expression: Tensor) -> Tensor:
        """(2, 3) root and neck at rest; they follow shape and, a little, expression."""
        if self.model is None:
            return self.subject.scale * torch.tensor(USUAL_JOINTS)
        regressor, known = self.model.joint_regressor[:2], self._known(expression)
        moved = torch.einsum(
            "jv,vce->jce", regressor, self.model.expression_basis[..., : len(known)]
        )
        return regressor @ self.model.template + moved @ known


def _too_many(coefficients: Tensor, known: int, kind: str, file: Path) -> str:
    """A line where coefficients are used that the model has no component for."""
    if not bool(coefficients[known:].any()):
        return ""
    return (
        f"it has {len(coefficients)} {kind} coefficients, the head model {file} knows {known}; "
        f"{WANTED}"
    )


def in_world(frames: list[Frame], data: _settings.MovingHead) -> list[Frame]:
    """The frames as they are, or with `data.fixed_head` in a world that is the head's frame.

    There the camera moves instead of the head, and every pixel shows what it showed.
    """
    if not data.fixed_head:
        return frames
    return [
        replace(
            frame,
            camera=replace(frame.camera, viewmat=frame.camera.viewmat @ frame.head_to_world),
            head_to_world=None,
        )
        for frame in frames
    ]


def on_surface(vertices: Tensor, faces: Tensor, colors: Tensor | None, count: int) -> PointCloud:
    """`count` random points, uniform over the area of a mesh (V, 3), (F, 3).

    Grey where no `colors` (V, 3) are given.
    """
    points = surface_points(vertices, faces, count, generator(0, "points on a head"))
    xyz = points.interpolate(vertices)
    return grey(xyz) if colors is None else PointCloud(xyz, points.interpolate(colors))
