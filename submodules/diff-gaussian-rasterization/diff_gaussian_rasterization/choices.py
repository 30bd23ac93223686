"""What code written for other packages is served with: chosen by a call, or by a variable."""

from __future__ import annotations

import os

FORMS = (
    "color_radii",
    "color_radii_invdepth",
    "color_radii_depth",
    "color_radii_depth_alpha",
    "color_depth_alpha_radii",
    "color_depth_normal_alpha_radii_extra",
)
QUATERNIONS = ("normalised", "as_given")


class Choice:
    """One of `values`: what was set, else the environment variable, else the first."""

    def __init__(self, name: str, values: tuple[str, ...]):
        self.name, self.values = name, values
        self.variable = f"DIFF_GAUSSIAN_RASTERIZATION_{name.upper()}"
        self._set: str | None = None

    def set(self, value: str | None) -> None:
        """None = what the environment says. ValueError for a value that there is not."""
        self._set = value if value is None else self._known(value, self.name)

    def __call__(self) -> str:
        """ValueError where the variable holds a value that there is not."""
        if self._set is not None:
            return self._set
        text = os.environ.get(self.variable)
        return self._known(text, self.variable) if text else self.values[0]

    def _known(self, value: str, where: str) -> str:
        if value not in self.values:
            raise ValueError(f"{where} is {value!r}, expected one of {', '.join(self.values)}")
        return value


FORM = Choice("returns", FORMS)
ROTATION = Choice("quaternions", QUATERNIONS)


def returns(form: str | None) -> None:
    """What a `GaussianRasterizer` made from now on returns, for code that imports it from here.

    form: one of FORMS; None = what the environment variable DIFF_GAUSSIAN_RASTERIZATION_RETURNS
    says, else color_radii. ValueError for another. Classes imported from a form's own module, such
    as `diff_gaussian_rasterization.color_radii_depth`, return what its name says whatever is set.
    """
    FORM.set(form)


def quaternions(kind: str | None) -> None:
    """How every form reads `rotations` from now on.

    kind: "normalised", or "as_given": the matrix R(q) as the formula gives it for a q of any
    length, as code expects that passes them unnormalised; None = what the environment variable
    DIFF_GAUSSIAN_RASTERIZATION_QUATERNIONS says, else normalised. ValueError for another.
    """
    ROTATION.set(kind)
