"""The 3DGS interface against the typed one."""

import copy
import math
import pickle

import pytest
import torch
from diff_gaussian_rasterization import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    rasterize,
)

from tests.submodules.diff_gaussian_rasterization.raster_scenes import cast, random_scene

FIELDS = (
    *("image_height", "image_width", "tanfovx", "tanfovy", "bg", "scale_modifier", "viewmatrix"),
    *("projmatrix", "sh_degree", "campos", "prefiltered", "debug", "antialiasing"),
)


def settings_of(scene, **changes):
    """3DGS settings for a typed scene: projection after the OpenGL form, z in [0, 1],
    transposed."""
    width, height, K, viewmat = (scene[k] for k in ("width", "height", "K", "viewmat"))
    near, far = 0.01, 100.0
    projection = torch.zeros(4, 4, dtype=K.dtype)
    projection[0, 0], projection[1, 1] = 2 * K[0, 0] / width, 2 * K[1, 1] / height
    projection[0, 2], projection[1, 2] = 2 * K[0, 2] / width - 1, 2 * K[1, 2] / height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = (
        far / (far - near),
        -far * near / (far - near),
        1,
    )
    values = {
        "image_height": height,
        "image_width": width,
        "tanfovx": width / (2 * K[0, 0].item()),
        "tanfovy": height / (2 * K[1, 1].item()),
        "bg": scene["background"],
        "scale_modifier": 1.0,
        "viewmatrix": viewmat.T,
        "projmatrix": (projection @ viewmat).T,
        "sh_degree": 3,
        "campos": -viewmat[:3, :3].T @ viewmat[:3, 3],
        "prefiltered": False,
        "debug": False,
    }  # fmt: skip
    return GaussianRasterizationSettings(**(values | changes))


def test_settings_have_the_fields_of_3dgs_in_order():
    assert GaussianRasterizationSettings._fields == FIELDS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_and_differentiates_like_the_typed_form(dtype):
    scene = cast(random_scene(), dtype)
    results = []
    for typed in (True, False):
        s = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
        leaves = [
            s[k].requires_grad_()
            for k in ("means", "means2d", "opacities", "sh", "scales", "quats")
        ]
        if typed:
            out = rasterize(**s, near=0.2, far=math.inf)
            color, radii = out.color, out.radii
        else:
            means, means2d, opacities, sh, scales, quats = leaves
            color, radii = GaussianRasterizer(raster_settings=settings_of(scene))(
                means3D=means, means2D=means2d, shs=sh, colors_precomp=None, opacities=opacities,
                scales=scales, rotations=quats, cov3D_precomp=None)  # fmt: skip
        (color**2).sum().backward()
        results.append([color.detach(), radii, *(x.grad for x in leaves)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_colors_and_covariances_may_be_given():
    scene = random_scene(channels=3)
    sigma = random_scene(channels=3, covariances=True)["covariances"]
    rasterizer = GaussianRasterizer(settings_of(scene))
    means, colors, opacities = scene["means"], scene["colors"], scene["opacities"]
    first, _ = rasterizer(means, None, opacities, colors_precomp=colors,
                          scales=scene["scales"], rotations=scene["quats"])  # fmt: skip
    empty = torch.Tensor([])
    second, _ = rasterizer(means, None, opacities, empty, colors, empty, empty, sigma)
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_scale_modifier_scales():
    scene = random_scene()
    arguments = (scene["means"], None, scene["opacities"], scene["sh"], None)
    a, _ = GaussianRasterizer(settings_of(scene, scale_modifier=0.5))(
        *arguments, scene["scales"], scene["quats"]
    )
    b, _ = GaussianRasterizer(settings_of(scene))(*arguments, scene["scales"] / 2, scene["quats"])
    assert torch.equal(a, b)


def test_antialiasing_is_the_typed_mode():
    scene = random_scene()
    scene["scales"] = 0.2 * scene["scales"]
    arguments = (scene["means"], None, scene["opacities"], scene["sh"], None,
                 scene["scales"], scene["quats"])  # fmt: skip
    found = GaussianRasterizer(settings_of(scene, antialiasing=True))(*arguments)
    expected = rasterize(**scene, near=0.2, far=math.inf, antialiased=True)
    torch.testing.assert_close(found[0], expected.color, rtol=1e-9, atol=1e-9)
    assert torch.equal(found[1], expected.radii)
    plain, _ = GaussianRasterizer(settings_of(scene))(*arguments)
    assert (found[0] - plain).abs().max() > 0.1


def test_a_dot_on_a_pixel_centre_is_symmetric_about_it():
    """3DGS counts pixel centres as integers: NDC 0 lies between the middle pixels of an even
    image."""
    scene = random_scene(1, 16, 16)
    scene["K"][:2, 2] = 8
    scene["means"] = (
        torch.linalg.inv(scene["viewmat"])[:3, 2:] @ torch.tensor([[3.0], [1.0]]).double()
    )
    scene["means"] = scene["means"].T
    scene["quats"] = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    scene["scales"] = torch.full((1, 3), 0.1, dtype=torch.float64)
    color, _ = GaussianRasterizer(settings_of(scene, bg=torch.zeros(3).double()))(
        scene["means"], None, torch.ones(1, 1).double(), colors_precomp=torch.ones(1, 3).double(),
        scales=scene["scales"], rotations=scene["quats"])  # fmt: skip
    torch.testing.assert_close(color, color.flip(1, 2))


def test_mark_visible_and_drawing_share_the_near_plane():
    scene = random_scene(2)
    depths = torch.tensor([0.199, 0.201], dtype=torch.float64)
    local = torch.stack([torch.zeros(2), torch.zeros(2), depths, torch.ones(2)]).double()
    scene["means"] = torch.linalg.solve(scene["viewmat"], local)[:3].T.contiguous()
    rasterizer = GaussianRasterizer(settings_of(scene))
    _, radii = rasterizer(scene["means"], None, scene["opacities"], scene["sh"], None,
                          scene["scales"], scene["quats"])  # fmt: skip
    assert rasterizer.markVisible(scene["means"]).tolist() == [False, True]
    assert (radii > 0).tolist() == [False, True]


def test_contradicting_fields_of_view_are_refused():
    scene = random_scene()
    with pytest.raises(ValueError, match=r"tanfovx is 2\.0, but projmatrix has"):
        GaussianRasterizer(settings_of(scene, tanfovx=2.0))(
            scene["means"],
            None,
            scene["opacities"],
            scene["sh"],
            None,
            scene["scales"],
            scene["quats"],
        )


def test_settings_may_leave_debug_out_and_carry_a_batch_of_one_camera():
    """The cameras of Dynamic 3D Gaussians and SplaTAM: eleven fields, matrices 1 4 4."""
    scene = random_scene()
    whole = settings_of(scene)
    fields = {name: value for name, value in whole._asdict().items() if name in FIELDS[:11]}
    batched = {name: fields[name][None] for name in ("viewmatrix", "projmatrix")}
    given = (scene["means"], None, scene["opacities"], scene["sh"], None,
             scene["scales"], scene["quats"])  # fmt: skip
    short = GaussianRasterizer(GaussianRasterizationSettings(**fields | batched))
    for a, b in zip(short(*given), GaussianRasterizer(whole)(*given), strict=True):
        assert torch.equal(a, b)
    assert short.markVisible(scene["means"]).shape == (len(scene["means"]),)


def test_settings_can_be_copied_changed_and_pickled():
    settings = settings_of(random_scene())
    others = copy.deepcopy(settings), pickle.loads(pickle.dumps(settings)), settings._replace()
    for other in others:
        assert type(other) is GaussianRasterizationSettings
        assert torch.equal(other.viewmatrix, settings.viewmatrix)
    assert settings._replace(sh_degree=0).sh_degree == 0


def test_fields_of_forks_that_are_not_served_are_refused_by_name():
    known = settings_of(random_scene())._asdict()
    with pytest.raises(TypeError, match=r"no field 'kernel_size', 'subpixel_offset'; it has"):
        GaussianRasterizationSettings(**known, kernel_size=0.1, subpixel_offset=None)


def test_what_would_be_drawn_otherwise_than_asked_is_refused():
    scene = random_scene()
    given = {"means3D": scene["means"], "means2D": None, "opacities": scene["opacities"],
             "scales": scene["scales"], "rotations": scene["quats"]}  # fmt: skip
    rasterizer = GaussianRasterizer(settings_of(scene))
    with pytest.raises(ValueError, match="neither of sh and colors given"):
        rasterizer(**given)
    with pytest.raises(ValueError, match="both of sh and colors given"):
        rasterizer(**given, shs=scene["sh"], colors_precomp=scene["sh"][:, 0])
