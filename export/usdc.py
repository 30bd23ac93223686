"""`.usdc`: OpenUSD's ParticleField3DGaussianSplat with a time sample a moment, through usd-core.

y up. Players interpolate between samples; what never changes is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.about import About
from export.axes import Y_UP
from export.columns import Columns, columns_of, gaussians_of
from scene.gaussian_model import Gaussians
from utils.errors import InputError
from utils.files import reading, regular, replacing

AXES, MOVES, MOMENTS = Y_UP, True, 30
PRIM = "/Gaussians"
MARGIN = 3.0  # standard deviations beyond the means that the extent holds


def write_moving(path: Path, frames: Sequence[Gaussians], about: About) -> None:
    """Write moments with the same rows, evenly over its seconds; a time code is a moment."""
    pxr = _pxr()
    moments = [columns_of(gaussians) for gaussians in frames]
    for before, after in pairwise(moments):
        flip = (before.quats * after.quats).sum(1) < 0
        after.quats[flip] *= -1  # the shorter way, for players that interpolate numbers
    stage = pxr.Usd.Stage.CreateInMemory()
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.y)
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond((len(moments) - 1) / about.seconds)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(len(moments) - 1)
    splat = pxr.UsdVol.ParticleField3DGaussianSplat.Define(stage, PRIM)
    stage.SetDefaultPrim(splat.GetPrim())
    splat.CreateRadianceSphericalHarmonicsDegreeAttr(moments[0].degree)
    values = [_values(pxr.Vt, columns) for columns in moments]
    for name, (_, create) in FIELDS.items():
        attribute = getattr(splat, create)()
        attribute.Set(values[0][name])  # for readers of one moment
        if any(value[name] != values[0][name] for value in values):
            for k, value in enumerate(values):
                attribute.Set(value[name], k)
    with replacing(path) as part:
        part.touch()  # what the disk refuses, it refuses here, in words of the system
        stage.GetRootLayer().Export(str(part))


def read_moving(path: Path, part: float) -> Gaussians:
    """The moment at `part` in [0, 1] of what `write_moving` wrote, as USD interpolates it.

    Raises InputError for a file that is damaged or has no such prim.
    """
    pxr = _pxr()
    regular(path)
    with reading(path, "a USD stage with Gaussians"):
        stage = pxr.Usd.Stage.Open(str(path))
        splat = pxr.UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath(PRIM))
        time = part * stage.GetEndTimeCode()
        found = {}
        for name, (_, create) in FIELDS.items():
            attribute = getattr(splat, create.replace("Create", "Get"))()
            found[name] = np.array(attribute.Get(time), np.float32)
        n = len(found["means"])
        return gaussians_of(
            Columns(
                found["means"], found["quats"][:, [3, 0, 1, 2]], found["scales"],
                found["opacities"], found["sh"].reshape(n, -1, 3),
            )
        )  # fmt: skip


# our name -> (how it is packed, what makes the attribute)
FIELDS = {
    "means": ("Vec3fArray", "CreatePositionsAttr"),
    "quats": ("QuatfArray", "CreateOrientationsAttr"),
    "scales": ("Vec3fArray", "CreateScalesAttr"),
    "opacities": ("FloatArray", "CreateOpacitiesAttr"),
    "sh": ("Vec3fArray", "CreateRadianceSphericalHarmonicsCoefficientsAttr"),
    "extent": ("Vec3fArray", "CreateExtentAttr"),
}


def _values(vt: Any, columns: Columns) -> dict[str, Any]:
    reach = MARGIN * columns.scales.max(1, keepdims=True)
    arrays: dict[str, NDArray] = {
        "means": columns.means,
        "quats": columns.quats[:, [1, 2, 3, 0]],  # memory order of a Quatf
        "scales": columns.scales,
        "opacities": columns.opacities,
        "sh": columns.sh.reshape(-1, 3),
        "extent": np.stack([(columns.means - reach).min(0), (columns.means + reach).max(0)]),
    }
    return {
        name: getattr(vt, FIELDS[name][0]).FromNumpy(np.ascontiguousarray(array, np.float32))
        for name, array in arrays.items()
    }


def _pxr() -> SimpleNamespace:
    try:
        from pxr import Usd, UsdGeom, UsdVol, Vt  # here: only those who write USD need it
    except ImportError:
        raise InputError(".usdc needs usd-core: pip install -r requirements-viewer.txt") from None
    return SimpleNamespace(Usd=Usd, UsdGeom=UsdGeom, UsdVol=UsdVol, Vt=Vt)
