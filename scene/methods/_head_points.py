"""What a method needs whose points move with a head model and on no mesh: blendshapes, pose
correctives and skinning weights of each (MonoGaussianAvatar, Chen et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scene.deformation.head_surface import HeadSurface
from scene.deformation.skinning import Bases, BlendTable, Rig, SkinField, distance, posed
from scene.facts import SceneFacts
from scene.frames import Frame, PointCloud
from scene.gaussian_model import GaussianTable
from scene.methods import MethodBase
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import Settings

JAW = 6  # place of the jaw's x angle in a pose
SAMPLE = 1_024  # points at which a step holds the field to the head model


@dataclass(frozen=True)
class Points:
    """The table's points as every frame needs them."""

    places: Tensor  # (N, 3) in canonical space
    skin: Tensor  # (N, 6) weights of ghost and joints
    look: dict[str, Tensor]  # raw columns, quaternions of length one where they turn


class HeadPoints(MethodBase):
    """A table of points in canonical space and a field that says how each moves.

    The field adds to what the head model says where the point is, which the table keeps as fixed
    columns (`anchored`), or says it alone.
    """

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h, head, known = self.hidden, points.head, facts.conditions["expression"]
        quarter = facts.subject.scale / 4  # metre in world units: the published unit
        self.unit = 1.0 if h.reference_units else quarter
        pose = torch.zeros(15)
        pose[JAW] = h.canonical_jaw
        self.register_buffer("canonical_expression", known.mean.clone())
        self.register_buffer("canonical_pose", pose)
        self.register_buffer("spread", known.spread, persistent=False)
        self.rig = Rig(len(known.mean), head)
        self.surface = None if head is None else HeadSurface(head, known.mean, pose, quarter)
        self.table = self._first_points(0 if head is None else settings.model.init_points)
        self.half = ("table.fixed.blend",) if h.anchored else ()
        self.add_body()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.build_networks()
        # Of a model that is only drawn: its points, what moves them, and the canonical state.
        self.baked: tuple[Points, BlendTable, tuple[Tensor, Tensor]] | None = None

    def build_networks(self) -> None:
        """The field; called once, with a seeded source of chance."""
        h = self.hidden
        self.field = SkinField(
            len(self.spread), self.unit, width=h.field_width, depth=h.field_depth,
            octaves=h.field_octaves, smooth=h.field_smooth,
        )  # fmt: skip

    def first_columns(self, xyz: Tensor, rgb: Tensor) -> dict[str, Tensor]:
        """The table's columns of points (N, 3) and colours (N, 3)."""
        columns = GaussianTable.from_points(PointCloud(xyz, rgb), self.sh_degree).columns
        return {name: column.detach().clone() for name, column in columns.items()}

    def look(self) -> dict[str, Tensor]:
        """Raw columns of every point, but for its place."""
        return {name: c for name, c in self.table.columns.items() if name != "means"}

    @torch.no_grad()
    def settle(self) -> None:
        points, bases = self.every_point()
        self.baked = points, BlendTable(bases.blend, self.unit), self._canonical()

    def moved(self, frame: Frame) -> tuple[dict[str, Tensor], Tensor]:
        """Raw columns with places and quaternions where the frame has them, and how far that is
        from the canonical places, (N, 3) world units."""
        bones, coefficients = self.bones(frame)
        if self.baked is None:
            still, known = self._canonical()
            points, blend = self._points(coefficients - known)
        else:
            points, table, (still, known) = self.baked
            blend = table(coefficients - known)
        quats = points.look["quats"]
        means, turned = posed(points.places, blend, points.skin, quats, bones, still)
        columns = points.look | {"means": means}
        if not self.hidden.reference_rotation:
            columns["quats"] = turned
        return columns, means - points.places

    def every_point(self) -> tuple[Points, Bases]:
        """The points and their bases."""
        means, found, offset = self._bases(slice(None))
        return self._of(self._placed(means, offset), found.skin), found

    def bones(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Bones (6, 4, 4) and blend coefficients (E + 36,) of a frame."""
        return self.rig.bones(frame.flame_pose, frame.expression, frame.head_to_world)

    @torch.no_grad()
    def anchor(self) -> None:
        """Keep what the head model says where the points are now."""
        if self.hidden.anchored:
            found = self._targets(self.table.columns["means"])
            for name, column in vars(found).items():
                getattr(self.table.fixed, name).copy_(column)

    def distance(self, step: int) -> Tensor:
        """Of some points' bases and weights from the head model's, a scalar."""
        source = generator(self.seed, "targets", step)
        rows = torch.randint(len(self.table), (SAMPLE,), generator=source)
        rows = rows.to(self.spread.device)
        means, found, offset = self._bases(rows)
        wanted = self._known(rows) or self._targets(self._placed(means, offset))
        return distance(found, wanted, self.spread, self.unit)

    def _first_points(self, count: int) -> GaussianTable:
        """`count` points on the canonical head and about it."""
        h = self.hidden
        xyz, rgb = self.surface.start(count, self.seed) if count else torch.zeros(2, 0, 3)
        if h.start_on_sphere:
            xyz = torch.rand(count, 3, generator=generator(self.seed, "sphere")) - 0.5
            xyz = 0.5 * self.unit * nn.functional.normalize(xyz, dim=1)
        anchors = self._targets(xyz) if count else Bases.none(len(self.spread))
        return GaussianTable(self.first_columns(xyz, rgb), vars(anchors) if h.anchored else None)

    def _targets(self, points: Tensor) -> Bases:
        free, anywhere = not self.hidden.anchored, self.optim.reference_targets
        return self.surface.bases(points.detach(), by_vertex=free, anywhere=anywhere)

    def _canonical(self) -> tuple[Tensor, Tensor]:
        return self.rig.canonical_bones(self.canonical_pose, self.canonical_expression)

    def _points(self, moved: Tensor) -> tuple[Points, Tensor]:
        """The points, and what blend coefficients (E + 36,) beyond the canonical ones add, (N,
        3)."""
        means = self.table.columns["means"]
        blend, skin, offset = self.field(means, moved, self._known(slice(None)))
        return self._of(self._placed(means, offset), skin), blend

    def _of(self, places: Tensor, skin: Tensor) -> Points:
        look = self.look()
        if not self.hidden.reference_rotation:
            look["quats"] = nn.functional.normalize(look["quats"], dim=-1)
        return Points(places, skin, look)

    def _known(self, rows: Tensor | slice) -> Bases | None:
        """What the head model says of some rows where the field adds to it."""
        if not self.hidden.anchored:
            return None
        return Bases(**{name: c[rows] for name, c in self.table.fixed.named_buffers()})

    def _bases(self, rows: Tensor | slice) -> tuple[Tensor, Bases, Tensor]:
        """Places, bases and canonical offsets of some rows."""
        means = self.table.columns["means"][rows]
        return means, *self.field.whole(means, self._known(rows))

    def _placed(self, means: Tensor, offset: Tensor) -> Tensor:
        return means + offset if self.hidden.canonical_offset else means
