"""A carrier: control points that find the things that move by themselves, and carry Gaussians
(sparse control as in Huang et al., "SC-GS", CVPR 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scene.deformation import control_points as cp
from scene.deformation import spin
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable
from utils.random import generator

REST = 0.5  # the moment at which the Gaussians are where their table says
TURNS = 4.0  # a knot counts in sides of the box and in quarters of tangents: one rate fits both
SLOW = 0.05  # sides of the box per clip: a speed at which a thing may as well rest
WIDTH = 0.06  # of a control point at first, in sides of the box
FAINT = 0.05  # opacity under which a control point is worth nothing where it is
BORN_WIDTH = 0.05  # of a Gaussian at most, in sides of the box
FAR = 1e3  # sides of the box: the distance of points that shall be no neighbours
LINK = 1.5  # of the usual distance of neighbours: points nearer than that are of one thing
FEWEST = 20  # points of a thing that is asked whether it spins
SLOWEST = 1.0  # turn per clip: what is slower, splines learn, and it need not be one body
LEAD = 5.0  # by how much looks must agree better under a spin: as `spin_of` counts it


class Carrier(nn.Module):
    """A few hundred control points along cubic splines.

    They are drawn themselves, by `follow`, until they know their ways; from `hang` on Gaussians
    ride on them. `drop` leaves none of them. Every state has its names; numbers of rows differ.
    """

    def __init__(
        self, box: tuple[Tensor, Tensor], n_points: int, n_knots: int, n_nearest: int, seed: int
    ) -> None:
        """box: corners (3,), (3,) in which the points begin; each carries with `n_nearest`."""
        super().__init__()
        low, high = box
        self.side, self.n_knots, self.seed = float((high - low).amax()), n_knots, seed
        n, k = n_points, n_nearest
        within = 0.1 + 0.8 * torch.rand(n, 3, generator=generator(seed, "control points"))
        self.points = GaussianTable(
            {
                "means": low + (high - low) * within,
                "log_scales": torch.full((n, 1), math.log(WIDTH * self.side)),
                "opacity_logits": torch.full((n, 1), -2.0),
                "rgb": torch.full((n, 3), 0.5),
                "knots": torch.zeros(n, n_knots, cp.N_NUMBERS),
            },
            {
                "nearest": torch.zeros(n, k, dtype=torch.int64),
                "near": torch.ones(n, k),
                "anchors": torch.zeros(n, 3),
                "thing": torch.zeros(n, dtype=torch.int64),
                "share": torch.zeros(n, 1),  # of a thing's middle
                "spin": torch.zeros(n, 3),  # of its thing, radians per clip
            },
        )
        # What pictures show of a thing's surface, until its spin is found.
        self.looks = GaussianTable(
            {},
            {
                "thing": torch.zeros(0, dtype=torch.int64),
                "time": torch.zeros(0),
                "shades": torch.zeros(0, spin.N_CELLS),
                "seen": torch.zeros(0, spin.N_CELLS),
            },
        )
        sizes = [self.side] * 3 + [TURNS] * (cp.N_NUMBERS - 3)
        self.register_buffer("units", torch.tensor(sizes), persistent=False)
        self.register_buffer("upright", torch.tensor([[1.0, 0, 0, 0]]), persistent=False)
        # Knots that have learned something, first and last; whether anything rides. The same as
        # numbers: to read a buffer would make a GPU wait.
        self.known_knots, self.carries, self.spins = self._knots(REST), False, False
        self.register_buffer("known", torch.tensor(self.known_knots))
        self.register_buffer("carrying", torch.tensor(False))
        # Mean square errors of held-out views: of two ways to stand still, and of the points.
        self.register_buffer("errors", torch.zeros(3))

    def remember(self) -> None:
        """The state was loaded: read from it what is kept as numbers, too."""
        self.known_knots, self.carries = tuple(self.known.tolist()), bool(self.carrying)
        self.spins = bool(self.points.fixed.spin.any())

    def follow(self, time: float) -> Gaussians:
        """The control points themselves, round; into moments that they have not seen yet they go
        on straight ahead."""
        self._widen(*self._knots(time))
        c = self.points.columns
        return Gaussians(
            means=self.places(time),
            quats=self.upright.expand(len(self.points), 4),
            scales=c["log_scales"].exp().expand(-1, 3),
            opacities=c["opacity_logits"].sigmoid(),
            colors=c["rgb"],
        )

    def begin_check(self) -> None:
        self.errors.zero_()

    def places(self, time: float) -> Tensor:
        """(P, 3) where the points are, world units."""
        c = self.points.columns
        return c["means"] + cp.at(c["knots"][..., cp.MOVE], time) * self.side

    @torch.no_grad()
    def hang(self) -> None:
        """Where the points are at the moment `REST` is where they carry from; the nearest of each
        are found over all moments."""
        c, fixed, alive = self.points.columns, self.points.fixed, self._alive()
        fixed.anchors.copy_(c["means"] + cp.at(self._in_units()[..., cp.MOVE], REST))
        spins = fixed.spin.any(1)
        others = (spins | spins[:, None]) & (fixed.thing != fixed.thing[:, None])
        distance = self._apart() + FAR * self.side * others  # what spins carries with none else
        distance.fill_diagonal_(-1.0)  # each comes first in its own list
        found = distance.topk(fixed.nearest.shape[1], largest=False)
        fixed.nearest.copy_(found.indices)
        usual = found.values[alive, 1:].median().clamp(min=1e-6 * self.side)
        fixed.near.copy_(torch.exp(-0.5 * (found.values.clamp(min=0) / usual).square()))
        fixed.near[:, 0] = 0  # of itself
        self._carry(True)

    @torch.no_grad()
    def part(self, n_views: int) -> None:
        """Tell things apart, and make room for looks of so many views at them."""
        fixed, alive, distance = self.points.fixed, self._alive(), self._apart()
        distance.fill_diagonal_(-1.0)
        usual = distance.topk(fixed.nearest.shape[1], largest=False).values[alive, 1:].median()
        fixed.thing.copy_(cp.things(distance, LINK * float(usual)))
        mass = self._opacities() * alive
        whole = torch.zeros_like(mass).index_add(0, fixed.thing, mass)[fixed.thing]
        fixed.share.copy_((mass / whole.clamp(min=1e-12))[:, None])
        found, counts = fixed.thing[alive].unique(return_counts=True)
        found = found[counts >= FEWEST].repeat(n_views)
        self.looks.allocate(len(found))
        self.looks.fixed.thing.copy_(found)

    @torch.no_grad()
    def look(self, frame: Frame, step: int) -> None:
        """Keep what a picture shows of every thing, as the look of step `step`, from 1 on; a frame
        without a picture shows nothing."""
        if frame.image is None:
            return
        fixed, looks, places = self.points.fixed, self.looks.fixed, self.places(frame.time)
        wide = 3 * self.points.columns["log_scales"].exp().square()
        things = looks.thing.unique().tolist()
        for row, thing in enumerate(things, start=(step - 1) * len(things)):
            share = fixed.share * (fixed.thing == thing)[:, None]
            middle = (share * places).sum(0)
            square = (share * ((places - middle).square().sum(1, keepdim=True) + wide)).sum()
            radius = float((5 / 3 * square).sqrt())  # of an even ball of that second moment
            looks.time[row] = frame.time
            looks.shades[row], looks.seen[row] = spin.look(
                frame.image, frame.camera, middle, radius
            )

    @torch.no_grad()
    def spin_up(self, most: float) -> list[float]:
        """Let the things spin whose looks agree far better then; their spins, turns per clip, at
        least `SLOWEST` and at most `most`."""
        fixed, looks = self.points.fixed, self.looks.fixed
        found = []
        for thing in looks.thing.unique().tolist():
            own = looks.thing == thing
            turn, lead = spin.spin_of(
                looks.time[own], looks.shades[own], looks.seen[own], 2 * math.pi * most
            )
            turns = float(turn.norm()) / (2 * math.pi)
            if lead >= LEAD and turns >= SLOWEST:
                fixed.spin[fixed.thing == thing] = turn
                found.append(turns)
        self.looks.allocate(0)
        self.spins = len(found) > 0
        return found

    @torch.no_grad()
    def drop(self) -> None:
        """Nothing rides, and no point is left."""
        self.points.allocate(0)
        self.looks.allocate(0)
        self._carry(False)

    @torch.no_grad()
    def born(self, n: int, sh_degree: int, extent: float) -> dict[str, Tensor]:
        """All columns of `n` Gaussians that are born in the points, after `hang`: those of
        `GaussianTable.from_points`, and what `ride` asks for, "riding" and "blend"."""
        c, fixed = self.points.columns, self.points.fixed
        source = generator(self.seed, "births")
        width = c["log_scales"].exp()[:, 0]
        opacity = c["opacity_logits"][:, 0].sigmoid() * self._alive()
        chances = (opacity * width.clamp(max=0.1 * self.side).square()).cpu()
        parents = torch.multinomial(chances, n, True, generator=source).to(width.device)
        noise = torch.randn(n, 3, generator=source).to(width)
        xyz = fixed.anchors[parents] + 0.7 * width[parents, None] * noise
        points = PointCloud(xyz, c["rgb"][parents].clamp(0.02, 0.98))
        born = dict(GaussianTable.from_points(points, sh_degree, extent).columns)
        born["log_scales"].clamp_(max=math.log(BORN_WIDTH * self.side))
        riding = fixed.nearest[parents]
        away = (xyz[:, None] - fixed.anchors[riding]).norm(dim=-1) / width[riding]
        blend = -0.5 * away.square()
        return born | {"blend": blend - blend.amax(1, keepdim=True), "riding": riding}

    def ride(self, columns: dict[str, Tensor], riding: Tensor, time: float) -> dict[str, Tensor]:
        """Raw columns of Gaussians carried to a moment.

        "blend" (N, K), which goes, are logits of the weights of the points `riding` (N, K).
        """
        weights = columns["blend"].softmax(1)
        rest = {name: column for name, column in columns.items() if name != "blend"}
        return cp.ride(rest, riding, weights, self.points.fixed.anchors, self._motions(time))

    def rigidity(self, time: float, other: float) -> tuple[Tensor, Tensor]:
        """How far neighbours are from moving as one body between two moments, sides of the box,
        and how far they are from turning and growing alike: mean squares."""
        fixed, two = self.points.fixed, (self._motions(time), self._motions(other))
        stretch, unlike = cp.rigidity(fixed.anchors, *two, fixed.nearest, fixed.near)
        return stretch / self.side**2, unlike

    def bend(self) -> Tensor:
        return cp.bend(self.points.columns["knots"], self.n_knots)

    def bend_of_ways(self) -> Tensor:
        """Of the knots known so far, of nothing but the points' moves."""
        first, last = self.known_knots
        known = self.points.columns["knots"][:, first : last + 1, cp.MOVE]
        return cp.bend(known, self.n_knots)

    def unrest(self) -> Tensor:
        return cp.unrest(self.points.columns["knots"][..., cp.MOVE], SLOW)

    def opacity(self) -> Tensor:
        return self.points.columns["opacity_logits"].sigmoid().mean()

    def _opacities(self) -> Tensor:
        return self.points.columns["opacity_logits"][:, 0].sigmoid()

    def _alive(self) -> Tensor:
        opacity = self._opacities()
        return opacity >= min(FAINT, float(opacity.max()))

    def _apart(self) -> Tensor:
        """(P, P) how far points are from each other, very far from and for what is faint: that is
        nobody's neighbour and holds nobody."""
        distance = cp.apart(self.points.columns["means"], self._in_units())
        faint = ~self._alive()
        return distance + FAR * self.side * (faint | faint[:, None])

    def _carry(self, carries: bool) -> None:
        self.carries = carries
        self.carrying.fill_(carries)

    @torch.no_grad()
    def _widen(self, first: int, last: int) -> None:
        """Let the splines reach these knots."""
        known = self.known_knots
        if first < known[0] or last > known[1]:
            cp.widened(self.points.columns["knots"], known, (first, last))
            self.known_knots = min(known[0], first), max(known[1], last)
            for place, knot in enumerate(self.known_knots):
                self.known[place].fill_(knot)

    def _knots(self, time: float) -> tuple[int, int]:
        """The first and the last knot that a moment reads."""
        first = cp.span(time, self.n_knots)[0]
        return first, first + cp.DEGREE

    def _in_units(self) -> Tensor:
        return self.points.columns["knots"] * self.units

    def _motions(self, time: float) -> dict[str, Tensor]:
        fixed = self.points.fixed
        motions = cp.motions(fixed.anchors, self._in_units(), time, REST)
        if not self.spins:
            return motions
        own = fixed.thing, fixed.share, fixed.spin
        return cp.spun(fixed.anchors, motions, *own, time - REST)
