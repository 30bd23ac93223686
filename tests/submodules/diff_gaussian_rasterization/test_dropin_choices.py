"""What the drop-in can be told without a change to the code that calls it, and where SH are seen
from."""

import math
from importlib import import_module

import diff_gaussian_rasterization as package
import pytest
import torch
from diff_gaussian_rasterization import GaussianRasterizer, rasterize
from diff_gaussian_rasterization.choices import FORM, FORMS, ROTATION
from scipy.spatial.transform import Rotation

from tests.submodules.diff_gaussian_rasterization.raster_scenes import random_scene, worst
from tests.submodules.diff_gaussian_rasterization.test_dropin import settings_of
from tests.submodules.diff_gaussian_rasterization.test_dropin_page import PAGE

CHOICES = (FORM, ROTATION)
CAMERA = {"near": 0.2, "far": math.inf}


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for choice in CHOICES:
        monkeypatch.delenv(choice.variable, raising=False)
    yield
    package.returns(None)
    package.quaternions(None)


def call(rasterizer, scene):
    return rasterizer(means3D=scene["means"], means2D=None, shs=scene["sh"],
                      opacities=scene["opacities"], scales=scene["scales"],
                      rotations=scene["quats"])  # fmt: skip


def own_class(form):
    module = "" if form == "color_radii" else f".{form}"
    return import_module(f"diff_gaussian_rasterization{module}").GaussianRasterizer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["call", "variable"])
def test_the_class_imported_from_the_package_returns_what_was_chosen(form, by, monkeypatch):
    scene = random_scene()
    expected = call(own_class(form)(settings_of(scene)), scene)
    if by == "call":
        monkeypatch.setenv(FORM.variable, "color_radii_depth")  # a call goes before
        package.returns(form)
    else:
        monkeypatch.setenv(FORM.variable, form)
    rasterizer = GaussianRasterizer(raster_settings=settings_of(scene))
    assert isinstance(rasterizer, GaussianRasterizer)
    found = call(rasterizer, scene)
    assert len(found) == len(form.split("_"))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_form_imported_by_name_stays_what_its_name_says():
    package.returns("color_radii_depth_alpha")
    scene = random_scene()
    assert len(call(own_class("color_radii_depth")(settings_of(scene)), scene)) == 3


def test_none_takes_a_choice_back():
    scene = random_scene()
    package.returns("color_radii_depth")
    package.returns(None)
    assert len(call(GaussianRasterizer(settings_of(scene)), scene)) == 2


def test_what_cannot_be_chosen_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="returns is 'color_depth', expected one of color_radii, "):
        package.returns("color_depth")
    with pytest.raises(ValueError, match="quaternions is 'unit', expected one of normalised, as_g"):
        package.quaternions("unit")
    monkeypatch.setenv(FORM.variable, "rgb")
    with pytest.raises(ValueError, match="DIFF_GAUSSIAN_RASTERIZATION_RETURNS is 'rgb'"):
        GaussianRasterizer(settings_of(random_scene()))


def formula(quats):
    """R(q) without normalisation: |q|² times the rotation, and 1 - |q|² times the identity."""
    squares = (quats**2).sum(1)[:, None, None]
    turns = torch.from_numpy(Rotation.from_quat(quats.roll(-1, 1).numpy()).as_matrix())
    return squares * turns + (1 - squares) * torch.eye(3, dtype=torch.float64)


def test_quaternions_as_given_are_those_of_the_formula():
    scene = random_scene()
    scene["quats"] = scene["quats"] / 2  # of lengths about 1
    package.quaternions("as_given")
    found = call(GaussianRasterizer(settings_of(scene)), scene)
    factor = formula(scene["quats"]) * scene["scales"][:, None]
    sigma = (factor @ factor.mT).reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
    other = scene | {"quats": None, "scales": None, "covariances": sigma}
    expected = rasterize(**other, **CAMERA)
    assert worst(found[0], expected.color) < 1e-12
    assert torch.equal(found[1], expected.radii)
    package.quaternions("normalised")
    assert worst(call(GaussianRasterizer(settings_of(scene)), scene)[0], found[0]) > 0.1


def test_unit_quaternions_are_drawn_alike_either_way(monkeypatch):
    scene = random_scene()
    scene["quats"] = torch.nn.functional.normalize(scene["quats"], dim=1)
    one = call(GaussianRasterizer(settings_of(scene)), scene)
    monkeypatch.setenv(ROTATION.variable, "as_given")
    other = call(GaussianRasterizer(settings_of(scene)), scene)
    assert worst(other[0], one[0]) < 1e-12


@pytest.mark.parametrize("name", ["quats", "scales"])
def test_gradients_of_quaternions_as_given_equal_finite_differences(name):
    scene = random_scene(7, 18, 13, seed=5)
    scene |= {"quats": scene["quats"] / 2, "scales": 2 * scene["scales"]}
    package.quaternions("as_given")
    rasterizer = GaussianRasterizer(settings_of(scene))

    def loss(x):
        return (call(rasterizer, scene | {name: x})[0] ** 2).sum()

    x = scene[name].clone().requires_grad_()
    loss(x).backward()
    numeric, step = torch.zeros_like(scene[name]), 1e-6
    for i in range(numeric.numel()):
        ends = []
        for sign in (1, -1):
            moved = scene[name].clone()
            moved.view(-1)[i] += sign * step
            ends.append(loss(moved).item())
        numeric.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
    assert worst(x.grad, numeric) < 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_quaternion_that_is_not_finite_draws_nothing_as_given_either(value):
    package.quaternions("as_given")
    scene = random_scene()
    scene["quats"][7, 0] = value
    leaves = {k: scene[k].clone().requires_grad_() for k in ("means", "quats", "scales")}
    color, radii = call(GaussianRasterizer(settings_of(scene)), scene | leaves)
    color.sum().backward()
    assert radii[7] == 0
    assert torch.isfinite(color).all()
    for leaf in leaves.values():
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad[7] == 0).all()


def colors_of_degree_1(scene, means, place):
    """Band by band, as the page of any SH table has it."""
    x, y, z = torch.nn.functional.normalize(means - place, dim=1).unbind(1)
    bands = (math.sqrt(1 / (4 * math.pi)) * torch.ones_like(x),
             *(math.sqrt(3 / (4 * math.pi)) * d for d in (-y, z, -x)))  # fmt: skip
    return (0.5 + sum(b[:, None] * scene["sh"][:, i] for i, b in enumerate(bands))).clamp_min(0)


@pytest.mark.parametrize("place", [(2.0, -1.0, 0.5), (0.0, 0.0, 0.0)])
def test_sh_are_seen_from_campos_as_given(place):
    """Cameras of DreamGaussian pass the mirrored point; colours then are those seen from there."""
    scene = random_scene() | {"sh_degree": 1}
    place = torch.tensor(place, dtype=torch.float64)
    settings = settings_of(scene, sh_degree=1, campos=place)
    results = []
    for by_hand in (False, True):
        means = scene["means"].clone().requires_grad_()
        if by_hand:
            colors = colors_of_degree_1(scene, means, place)
            rest = {k: v for k, v in scene.items() if k not in ("sh", "sh_degree", "means")}
            color = rasterize(means=means, colors=colors, **rest, **CAMERA).color
        else:
            color = call(GaussianRasterizer(settings), scene | {"means": means})[0]
        (color**2).sum().backward()
        results.append((color.detach(), means.grad))
    for found, expected in zip(*results, strict=True):
        assert worst(found, expected) < 1e-9
    plain = call(GaussianRasterizer(settings_of(scene, sh_degree=1)), scene)[0]
    assert (plain - results[0][0]).abs().max() > 0.01


@pytest.mark.parametrize("rounded", [lambda x: x, lambda x: x.float(), lambda x: None])
def test_the_camera_s_own_centre_changes_no_bit(rounded):
    scene = random_scene()
    plain = call(GaussianRasterizer(settings_of(scene)), scene)
    campos = rounded(settings_of(scene).campos)
    other = call(GaussianRasterizer(settings_of(scene, campos=campos)), scene)
    expected = rasterize(**scene, **CAMERA).color
    assert torch.equal(plain[0], other[0])
    torch.testing.assert_close(plain[0], expected)


def test_degree_0_and_given_colours_do_not_read_campos():
    scene = random_scene() | {"sh_degree": 0}
    campos = torch.full((3,), math.nan, dtype=torch.float64)
    one, other = (
        call(GaussianRasterizer(settings_of(scene, sh_degree=0, **more)), scene)
        for more in ({}, {"campos": campos})
    )
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    ("campos", "text"),
    [(torch.zeros(4), "campos has 4 numbers"), (torch.full((3,), math.nan), "campos is .*finite")],
)
def test_a_campos_that_is_no_place_is_refused(campos, text):
    scene = random_scene()
    with pytest.raises(ValueError, match=text):
        call(GaussianRasterizer(settings_of(scene, campos=campos)), scene)


def test_the_page_names_the_variables_and_every_form():
    page = PAGE.read_text()
    assert all(choice.variable in page for choice in CHOICES)
    assert all(form in page for form in set(FORMS) - {"color_depth_normal_alpha_radii_extra"})
