"""Small scenes for the rasterizer's tests, and one way to draw them and collect every gradient."""

import torch
from diff_gaussian_rasterization import cuda, layout, ops, rasterize, reference

IMAGE = ("color", "depth", "alpha")


def random_scene(count=60, width=50, height=37, *, channels=None, covariances=False, seed=0):
    """Float64 keyword arguments of `rasterize`: a camera off axis, Gaussians of many shapes."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    turn = torch.nn.functional.normalize(torch.cat([torch.ones(1), 0.15 * normal(3)]), dim=0)
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[:3, :3] = reference.rotation(turn[None])[0]
    viewmat[:3, 3] = torch.tensor([0.1, -0.2, 3.0])
    focal = torch.tensor([1.2 * width, 1.1 * width, 1.0], dtype=torch.float64)
    K = torch.diag(focal)
    K[:2, 2] = torch.tensor([0.53 * width, 0.45 * height])
    scene = {
        "means": 0.6 * normal(count, 3),
        "quats": normal(count, 4),
        "scales": torch.exp(0.5 * normal(count, 3) - 2.2),
        "opacities": torch.sigmoid(1.5 * normal(count, 1)),
        "means2d": torch.zeros(count, 3, dtype=torch.float64),
        "viewmat": viewmat,
        "K": K,
        "background": torch.rand(channels or 3, generator=generator, dtype=torch.float64),
        "width": width,
        "height": height,
    }
    if channels is None:
        scene |= {"sh": 0.3 * normal(count, 16, 3), "sh_degree": 3}
    else:
        scene["colors"] = torch.rand(count, channels, generator=generator, dtype=torch.float64)
    if covariances:
        factor = reference.rotation(scene["quats"]) * scene["scales"][:, None]
        sigma = (factor @ factor.mT).reshape(-1, 9)
        scene |= {"covariances": sigma[:, [0, 1, 2, 4, 5, 8]], "quats": None, "scales": None}
    return scene


def cast(scene, dtype):
    return {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in scene.items()}


def weights(scene, seed=1):
    """Random gradients of colour, depth and alpha."""
    generator = torch.Generator().manual_seed(seed)
    shape = scene["height"], scene["width"]
    channels = len(scene["background"])
    return [
        torch.randn(n, *shape, generator=generator, dtype=torch.float64) for n in (channels, 1, 1)
    ]


def draw_native(scene):
    out = rasterize(**scene)
    return [*(getattr(out, name) for name in IMAGE), out.radii]


def inputs_of(scene):
    """The operators' arguments, with the defaults of `rasterize`."""
    defaults = {"sh": None, "colors": None, "covariances": None, "sh_degree": 0}
    defaults |= {"near": 0.01, "far": 100.0, "background": None, "means2d": None}
    defaults |= {"means2d_abs": None, "antialiased": False}
    scene = defaults | scene
    return ops.Inputs(*(scene[name] for name in ops.Inputs._fields))


def draw_twin(scene):
    return list(reference.forward(*inputs_of(scene)))


def draw_with(kernels):
    """The GPU backend's host code and kernels on CPU tensors: `kernels` as `emulated` makes
    them."""
    return lambda scene: list(_CudaBackend.apply(kernels, *inputs_of(scene)))


def draw_on_gpu(scene):
    """`rasterize` on the GPU, with the scene taken there and the results brought back."""
    scene = {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
    return [x.cpu() for x in draw_native(scene)]


class _CudaBackend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, *arguments):
        ctx.set_materialize_grads(False)
        ctx.kernels, ctx.inputs = kernels, layout.Inputs(*arguments)
        ctx.saved = cuda.forward(ctx.inputs, kernels)
        ctx.mark_non_differentiable(ctx.saved.radii)
        return ctx.saved[:4]

    @staticmethod
    def backward(ctx, *grads):
        needed = ctx.needs_input_grad[1:]
        wanted = sum(1 << i for i in range(len(layout.DIFFERENTIABLE)) if needed[i])
        found = cuda.backward(ctx.inputs, ctx.saved, grads[:3], wanted, ctx.kernels)
        found = [g if wanted >> i & 1 else None for i, g in enumerate(found)]
        return None, *found, *[None] * (len(ctx.inputs) - len(found))


def with_gradients(draw, scene, image_weights=None):
    """The drawn image and radii, and the gradient of a random loss to every differentiable
    input."""
    leaves = {
        k: v.clone().requires_grad_(k != "K") if isinstance(v, torch.Tensor) else v
        for k, v in scene.items()
    }
    out = draw(leaves)
    image_weights = weights(scene) if image_weights is None else image_weights
    loss = sum(
        (a * b.to(a.dtype)).sum()
        for a, b in zip(out[:3], image_weights, strict=True)
        if b is not None
    )
    loss.backward()
    return [x.detach() for x in out], {
        k: v.grad for k, v in leaves.items() if isinstance(v, torch.Tensor) and k != "K"
    }


def worst(a, b):
    """Largest difference, as a part of b's largest value."""
    if b.numel() == 0:
        return 0.0
    return ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-12)).item()
