"""A training loop in the way that forks of 3DGS write theirs runs on CPU tensors as it is."""

import math
from importlib import import_module

import pytest
import torch

CALLERS = {
    "diff_gaussian_rasterization": lambda out: (out[0], out[1]),
    "diff_gaussian_rasterization.color_radii_depth": lambda out: (out[0], out[1]),
    "diff_gaussian_rasterization.color_radii_depth_alpha": lambda out: (out[0], out[1]),
    "diff_gaussian_rasterization.color_depth_alpha_radii": lambda out: (out[0], out[3]),
    "diff_gaussian_rasterization.color_radii_invdepth": lambda out: (out[0], out[1]),
    "diff_gauss": lambda out: (out[0], out[4]),
}


class MiniCamera:
    """The camera of 3DGS code: fields of view, and matrices for row vectors."""

    def __init__(self, angle, size=48, fov=0.8):
        self.image_width = self.image_height = size
        self.FoVx = self.FoVy = fov
        world_to_camera = torch.eye(4)
        cos, sin = math.cos(angle), math.sin(angle)
        world_to_camera[:3, :3] = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        world_to_camera[2, 3] = 4
        near, far, tangent = 0.01, 100.0, math.tan(fov / 2)
        projection = torch.zeros(4, 4)
        projection[0, 0] = projection[1, 1] = 1 / tangent
        projection[2, 2], projection[2, 3] = far / (far - near), -far * near / (far - near)
        projection[3, 2] = 1
        self.world_view_transform = world_to_camera.transpose(0, 1)
        self.full_proj_transform = (
            self.world_view_transform.unsqueeze(0).bmm(projection.T.unsqueeze(0)).squeeze(0)
        )
        self.camera_center = self.world_view_transform.inverse()[3, :3]


class Model:
    """The parameters of 3DGS code, raw, with their activations as properties."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self._xyz = 0.6 * torch.randn(count, 3, generator=generator)
        self._xyz[-1] = torch.tensor([0, 0, -50.0])  # behind every camera
        self._scaling = torch.full((count, 3), math.log(0.15))
        self._rotation = torch.randn(count, 4, generator=generator)
        self._opacity = torch.zeros(count, 1)
        self._features = 0.5 * torch.randn(count, 4, 3, generator=generator)
        self.tensors = [self._xyz, self._scaling, self._rotation, self._opacity, self._features]
        self.active_sh_degree = 1

    get_xyz = property(lambda self: self._xyz)
    get_scaling = property(lambda self: torch.exp(self._scaling))
    get_rotation = property(lambda self: torch.nn.functional.normalize(self._rotation))
    get_opacity = property(lambda self: torch.sigmoid(self._opacity))
    get_features = property(lambda self: self._features)


def render(viewpoint_camera, pc, bg_color, module, unpack):
    screenspace_points = (
        torch.zeros_like(pc.get_xyz, dtype=pc.get_xyz.dtype, requires_grad=True) + 0
    )
    screenspace_points.retain_grad()
    raster_settings = module.GaussianRasterizationSettings(
        image_height=int(viewpoint_camera.image_height),
        image_width=int(viewpoint_camera.image_width),
        tanfovx=math.tan(viewpoint_camera.FoVx * 0.5),
        tanfovy=math.tan(viewpoint_camera.FoVy * 0.5),
        bg=bg_color,
        scale_modifier=1.0,
        viewmatrix=viewpoint_camera.world_view_transform,
        projmatrix=viewpoint_camera.full_proj_transform,
        sh_degree=pc.active_sh_degree,
        campos=viewpoint_camera.camera_center,
        prefiltered=False,
        debug=False,
    )
    rasterizer = module.GaussianRasterizer(raster_settings=raster_settings)
    image, radii = unpack(
        rasterizer(
            means3D=pc.get_xyz,
            means2D=screenspace_points,
            shs=pc.get_features,
            colors_precomp=None,
            opacities=pc.get_opacity,
            scales=pc.get_scaling,
            rotations=pc.get_rotation,
        )
    )
    return image, screenspace_points, radii > 0, radii


@pytest.mark.parametrize("name", CALLERS)
def test_a_training_loop_of_3dgs_code_learns_on_cpu_tensors(name):
    module, unpack = import_module(name), CALLERS[name]
    cameras = [MiniCamera(angle) for angle in (-0.3, 0.0, 0.3)]
    background = torch.zeros(3)
    truth, model = Model(40, seed=1), Model(40, seed=1)
    drawn = [render(camera, truth, background, module, unpack) for camera in cameras]
    pictures = [image.detach() for image, *_ in drawn]
    model._features.mul_(0.2)
    optimizer = torch.optim.Adam([x.requires_grad_() for x in model.tensors], lr=0.02, eps=1e-15)
    gradient_sum, times_seen = torch.zeros(40, 1), torch.zeros(40, 1)
    max_radii2D = torch.zeros(40)
    losses = []
    for step in range(45):
        camera, picture = cameras[step % 3], pictures[step % 3]
        image, points, visible, radii = render(camera, model, background, module, unpack)
        loss = (image - picture).abs().mean()
        loss.backward()
        with torch.no_grad():
            max_radii2D[visible] = torch.max(max_radii2D[visible], radii[visible])
            gradient_sum[visible] += torch.norm(points.grad[visible, :2], dim=-1, keepdim=True)
            times_seen[visible] += 1
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.4 * sum(losses[:3])
    assert times_seen[-1] == max_radii2D[-1] == 0
    assert (gradient_sum[:-1] > 0).all()
    assert (gradient_sum / times_seen.clamp_min(1)).isfinite().all()
