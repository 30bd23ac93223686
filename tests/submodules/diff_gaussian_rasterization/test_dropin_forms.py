"""Each form that forks return: against values computed by hand, one pass of `rasterize` for each
image, and finite differences."""

import math
from importlib import import_module

import pytest
import torch
from diff_gaussian_rasterization import GaussianRasterizationSettings, rasterize
from scipy.spatial.transform import Rotation

from tests.submodules.diff_gaussian_rasterization.raster_scenes import cast, random_scene, worst
from tests.submodules.diff_gaussian_rasterization.test_dropin import settings_of

FORMS = (
    "color_radii_depth",
    "color_radii_depth_alpha",
    "color_depth_alpha_radii",
    "color_radii_invdepth",
    "color_depth_normal_alpha_radii_extra",
)
LEAVES = ("means", "quats", "scales", "opacities", "sh", "extra")


def rasterizer_of(form):
    return import_module(f"diff_gaussian_rasterization.{form}").GaussianRasterizer


def draw(form, scene, settings=None, **changes):
    """{name: image} of one call; the names are those in the form's own name."""
    arguments = {
        "means3D": scene["means"], "means2D": scene.get("means2D"),
        "opacities": scene["opacities"], "shs": scene.get("sh"),
        "colors_precomp": scene.get("colors"), "scales": scene["scales"],
        "rotations": scene["quats"]}  # fmt: skip
    if "extra" in form:
        arguments["extra_attrs"] = scene["extra"]
    settings = settings_of(scene) if settings is None else settings
    values = rasterizer_of(form)(raster_settings=settings)(**arguments | changes)
    return dict(zip(form.split("_"), values, strict=True))


def scene_with_extra(count=60, width=50, height=37, **choices):
    scene = random_scene(count, width, height, **choices)
    generator = torch.Generator().manual_seed(5)
    scene["extra"] = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    return scene


def disc(*depths, opacities, scales=(0.3, 0.25, 0.02)):
    """Discs on the optical axis of a camera at the origin that looks along z; 33 by 33 pixels."""
    n, size, focal = len(depths), 33, 40.0
    scene = {
        "means": torch.tensor([[0, 0, z] for z in depths]),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1),
        "scales": torch.tensor([scales]).repeat(n, 1),
        "opacities": torch.tensor(opacities)[:, None],
        "colors": torch.linspace(0.1, 0.9, 3 * n).reshape(n, 3),
        "extra": torch.linspace(-2, 2, 2 * n).reshape(n, 2),
        "viewmat": torch.eye(4),
        "K": torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]),
        "background": torch.tensor([0.2, 0.4, 0.6]),
    }
    return cast(scene, torch.float64) | {"width": size, "height": size}


def expected_images(scene):
    """Each image by a pass of its own through the typed interface; axes by SciPy."""
    camera = {"near": 0.2, "far": math.inf}
    plain = {k: v for k, v in scene.items() if k not in ("extra", "means2D")} | camera
    out = rasterize(**plain)
    plain = {k: v for k, v in plain.items() if k not in ("sh", "sh_degree", "background", "colors")}

    def blend(values):
        return rasterize(**plain, colors=values).color

    turns = torch.from_numpy(Rotation.from_quat(scene["quats"].roll(-1, 1).numpy()).as_matrix())
    shortest = scene["scales"].argmin(1)
    axes = turns[torch.arange(len(turns)), :, shortest]
    camera_space = scene["means"] @ scene["viewmat"][:3, :3].T + scene["viewmat"][:3, 3]
    slant = ((axes @ scene["viewmat"][:3, :3].T) * camera_space).sum(1, keepdim=True)
    return {
        "color": out.color, "radii": out.radii, "depth": out.depth, "alpha": out.alpha,
        "invdepth": blend(1 / camera_space[:, 2:]), "normal": blend(-slant.sign() * axes),
        "extra": blend(scene["extra"])}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_disc_facing_the_camera_has_the_values_of_the_formula(form):
    """At the centre w = opacity; d pixels off it, opacity · exp(-d² / 2 variance)."""
    z, opacity, offset = 4.0, 0.7, 5
    scene = disc(z, opacities=[opacity])
    images = draw(form, scene)
    variance = (40.0 * 0.3 / z) ** 2 + 0.3
    beside = opacity * math.exp(-(offset**2) / 2 / variance)
    for column, w in ((16, opacity), (16 + offset, beside)):
        hand = {
            "color": w * scene["colors"][0] + (1 - w) * scene["background"],
            "depth": [w * z], "invdepth": [w / z], "alpha": [w],
            "normal": [0, 0, -w], "extra": w * scene["extra"][0]}  # fmt: skip
        for name in images.keys() - {"radii"}:
            found = images[name][:, 16, column]
            torch.testing.assert_close(found, torch.as_tensor(hand[name]).double())
    assert images["radii"].tolist() == [math.ceil(3 * math.sqrt(variance))]


@pytest.mark.parametrize("form", FORMS)
def test_two_discs_blend_front_to_back(form):
    near, far = 0.6, 0.8
    scene = disc(6.0, 3.0, opacities=[far, near])
    images = draw(form, scene)
    weights = torch.tensor([(1 - near) * far, near], dtype=torch.float64)
    z = scene["means"][:, 2]
    hand = {
        "color": weights @ scene["colors"] + (1 - weights.sum()) * scene["background"],
        "depth": (weights @ z)[None], "invdepth": (weights @ (1 / z))[None],
        "alpha": weights.sum()[None], "extra": weights @ scene["extra"],
        "normal": torch.tensor([0, 0, -weights.sum()])}  # fmt: skip
    for name in images.keys() - {"radii"}:
        torch.testing.assert_close(images[name][:, 16, 16], hand[name].double())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [None, 3], ids=["sh", "colors"])
def test_every_image_equals_a_pass_of_its_own(form, channels):
    scene = scene_with_extra(channels=channels)
    expected = expected_images(scene)
    for name, image in draw(form, scene).items():
        torch.testing.assert_close(image, expected[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_match_finite_differences(form):
    scene = scene_with_extra(12, 24, 20)
    leaves = {k: scene[k].clone().requires_grad_() for k in LEAVES if k != "extra" or k in form}
    generator = torch.Generator().manual_seed(7)
    images = draw(form, scene | leaves)
    cotangents = {
        name: torch.randn(image.shape, generator=generator, dtype=torch.float64)
        for name, image in images.items() if name != "radii"}  # fmt: skip

    def loss(values):
        drawn = draw(form, scene | values)
        return sum((drawn[name] * weight).sum() for name, weight in cotangents.items())

    gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
    step = 1e-6
    with torch.no_grad():
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
            above, below = (loss({name: leaf + sign * step * direction}) for sign in (1, -1))
            slope = (gradient * direction).sum()
            torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-5, atol=1e-7)


def test_the_gradient_of_every_form_reaches_the_screen_means():
    """All other images have weight zero, so each form must leave what color alone leaves."""
    found = []
    for form in FORMS:
        scene = scene_with_extra()
        scene["means2D"] = torch.zeros_like(scene["means"]).requires_grad_()
        (draw(form, scene)["color"] ** 2).sum().backward()
        found.append(scene["means2D"].grad)
    assert found[0].abs().max() > 0
    assert all(worst(other, found[0]) < 1e-9 for other in found[1:])


def test_rows_that_cannot_be_drawn_change_nothing_and_get_no_gradient():
    form = "color_depth_normal_alpha_radii_extra"
    clean = scene_with_extra()
    scene = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in clean.items()}
    bad = {"means": (3, math.nan), "sh": (9, math.inf), "quats": (14, 0.0), "extra": (22, math.nan),
           "scales": (31, math.nan), "opacities": (40, 0.001)}  # fmt: skip
    for name, (row, value) in bad.items():
        scene[name][row] = value
    scene["means"][50] = 1e25
    dropped = [*(row for row, _ in bad.values()), 50]
    kept = [row for row in range(60) if row not in dropped]
    leaves = {name: scene[name].float().requires_grad_() for name in LEAVES}
    view = settings_of(scene).viewmatrix.float().requires_grad_()
    settings = settings_of(scene)._replace(viewmatrix=view)
    images = draw(form, cast(scene, torch.float32) | leaves, settings)
    fewer = {name: clean[name][kept] for name in LEAVES}
    for name, image in draw(form, clean | fewer).items():
        mine = images[name][kept] if name == "radii" else images[name]
        torch.testing.assert_close(mine.to(image.dtype), image, rtol=1e-3, atol=1e-4)
    sum((image**2).sum() for name, image in images.items() if name != "radii").backward()
    assert images["radii"][dropped].tolist() == [0] * len(dropped)
    assert view.grad.isfinite().all()
    for leaf in leaves.values():
        assert leaf.grad.isfinite().all()
        assert leaf.grad[dropped].abs().max() == 0
        assert leaf.grad[kept].abs().max() > 0


def test_normals_of_covariances_are_those_of_their_scales_and_quaternions():
    form = "color_depth_normal_alpha_radii_extra"
    scene = scene_with_extra()
    sigma = random_scene(covariances=True)["covariances"]
    expected = draw(form, scene)
    placeholders = torch.ones_like(scene["scales"]), torch.ones_like(scene["quats"])
    for scales, quats in ((None, None), placeholders):
        images = draw(form, scene, scales=scales, rotations=quats, cov3Ds_precomp=sigma)
        for name, image in images.items():
            torch.testing.assert_close(image, expected[name], rtol=1e-6, atol=1e-6)


def test_given_normals_are_blended_as_they_stand():
    form = "color_depth_normal_alpha_radii_extra"
    scene = scene_with_extra()
    normals = torch.randn(60, 3, dtype=torch.float64)
    images = draw(form, scene, norm3Ds_precomp=normals, extra_attrs=normals)
    assert torch.equal(images["normal"], images["extra"])


def test_without_attributes_extra_has_no_channels():
    images = draw("color_depth_normal_alpha_radii_extra", scene_with_extra(), extra_attrs=None)
    assert images["extra"].shape == (0, 37, 50)


def test_diff_gauss_is_the_form_with_normals_and_attributes():
    import diff_gauss

    form = import_module("diff_gaussian_rasterization.color_depth_normal_alpha_radii_extra")
    assert diff_gauss.GaussianRasterizer is form.GaussianRasterizer
    assert diff_gauss.GaussianRasterizationSettings is GaussianRasterizationSettings


def test_no_gaussians_draw_the_background():
    for form in FORMS:
        scene = {k: v[:0] if k in LEAVES else v for k, v in scene_with_extra().items()}
        images = draw(form, scene)
        assert torch.equal(images["color"], scene["background"][:, None, None].expand(3, 37, 50))
        assert all(images[name].abs().sum() == 0 for name in images.keys() - {"color"})
