"""Losses on pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from fused_fields import mean_error, ssim
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from gaussian_renderer import Render
from scene.frames import Frame
from scene.gaussian_model import GaussianTable
from scene.regions import Rectangle, crop, rectangles
from scoring.perceptual import DEFAULT_WEIGHTS, HOW_TO_GET, find_weights, load_lpips
from training.schedules import constant
from training.stage import Loss

ABOUT = 5  # pixels of a side of what is about a pixel
VGG_SIDE, VGG_BLOCKS = 224, 4  # as published

Compare = Callable[[Render, Frame], Tensor]


def l1(image: Tensor, truth: Tensor) -> Tensor:
    return mean_error(image, truth, squared=False)


def l2(image: Tensor, truth: Tensor) -> Tensor:
    return mean_error(image, truth, squared=True)


def blurred_l2(cells: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean square of differences averaged over square cells, summed over their sizes: sides in
    parts of a picture's longest, 5 = a fifth. A thing is pulled to its place from a cell away."""

    def distance(image: Tensor, truth: Tensor) -> Tensor:
        longest = max(image.shape[1:])
        error, found = (image - truth)[None], []
        for part in cells:
            side = min(max(round(longest / part), 1), *image.shape[1:])
            found.append(avg_pool2d(error, side).square().mean())
        return torch.stack(found).sum()

    return distance


def dssim(image: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM: 11x11 Gaussian window, zero padding (3DGS)."""
    return 1 - ssim(image, truth)


def lpips() -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS of AlexNet; the weights are read when this is called."""
    net = load_lpips(None, "alex")
    return lambda image, truth: net.to(image.device)(image, truth)


def vgg() -> Callable[[Tensor, Tensor], Tensor]:
    """Mean absolute difference of VGG16's features after the last ReLU of its first four blocks,
    summed over these; pictures go in at 224x224 (GaussianHead). The weights are read when this is
    called."""
    net = load_lpips(None, "vgg")

    def features(image: Tensor) -> list[Tensor]:
        small = interpolate(image[None], (VGG_SIDE, VGG_SIDE), mode="bilinear", align_corners=False)
        return net.to(image.device).features(small)[:VGG_BLOCKS]

    def distance(image: Tensor, truth: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = features(truth)
        return torch.stack([l1(a, b) for a, b in zip(features(image), wanted, strict=True)]).sum()

    return distance


def perceptual(weight: float) -> list[Loss]:
    """The term `vgg`, where it weighs anything and its weights are there; one line says if not."""
    if not weight:
        return []
    if find_weights() is None:
        print(f"lambda_vgg={weight:g} is off: no weights at {DEFAULT_WEIGHTS}; {HOW_TO_GET}")
        return []
    return [Loss("vgg", constant(weight), over_views(of_picture(vgg())))]


def photometric(**weights: float) -> list[Loss]:
    """Terms by weight: l1, l2, dssim and lpips of the picture, alpha (L1 of the coverage).

    What weighs nothing is not built, so LPIPS is not loaded for nothing.
    """
    terms: dict[str, Callable[[], Compare]] = {
        "l1": lambda: of_picture(l1),
        "l2": lambda: of_picture(l2),
        "dssim": lambda: of_picture(dssim),
        "lpips": lambda: of_picture(lpips()),
        "alpha": lambda: lambda render, frame: l1(render.alpha, frame.alpha),
    }
    return [
        Loss(name, constant(weight), over_views(terms[name]()))
        for name, weight in weights.items()
        if weight
    ]


def in_regions(weight: float, boxes: Mapping[str, Tensor]) -> list[Loss]:
    """Mean L1 within what the pictures show of the boxes.

    Small parts that move, such as a mouth, are a percent of the picture: their share of the
    gradient drowns in that of everything else.
    """
    if not weight or not boxes:
        return []
    # a picture of a size shows its boxes in the same place
    known: dict[tuple, list[Rectangle]] = {}

    def compare(render: Render, frame: Frame) -> Tensor:
        key = (frame.image_path, frame.index, frame.image.shape)
        if key not in known:
            known[key] = list(rectangles(boxes, frame).values())
        found = [l1(crop(render.image, p), crop(frame.image, p)) for p in known[key]]
        return torch.stack(found).mean() if found else render.image.sum() * 0

    return [Loss("regions", constant(weight), over_views(compare))]


def moves(weight: float, table: GaussianTable, extent: float) -> list[Loss]:
    """The mean length of the ways from the table's means to the posed ones, in scene extents."""

    def length(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        still = table.columns["means"]
        ways = [(render.gaussians.means - still).norm(dim=1).mean() for render in renders]
        return torch.stack(ways).mean() / extent

    return [Loss("offsets", constant(weight), length)] if weight else []


def squares(color: float, alpha: float) -> Compare:
    """`color` times the mean square of differences in colour and `alpha` times that in coverage."""

    def distance(render: Render, frame: Frame) -> Tensor:
        return color * l2(render.image, frame.image) + alpha * l2(render.alpha, frame.alpha)

    return distance


def confidently(color: float, alpha: float, half: float) -> Compare:
    """`squares`, each pixel believed the less the more the pixels about it differ: half where they
    differ `half` times as much as is usual in this view's subject.

    Generated views contradict each other in places. The model is what most of them agree on, so
    what differs from it far more than the rest is what the others deny.
    """

    def distance(render: Render, frame: Frame) -> Tensor:
        error = color * (render.image - frame.image).square().mean(0, keepdim=True)
        error = error + alpha * (render.alpha - frame.alpha).square()
        with torch.no_grad():
            about = avg_pool2d(error[None], ABOUT, stride=1, padding=ABOUT // 2)[0]
            outside = torch.maximum(render.alpha, frame.alpha) <= 0.5
            usual = about.masked_fill(outside, torch.nan).nanmedian().nan_to_num(1.0)
            belief = 1 / (1 + about / (half * usual.clamp(min=1e-8)))
        return (belief * error).mean()

    return distance


def of_picture(fn: Callable[[Tensor, Tensor], Tensor]) -> Compare:
    return lambda render, frame: fn(render.image, frame.image)


def has_picture(frame: Frame) -> bool:
    return frame.image is not None


def over_views(
    fn: Compare, of: Callable[[Frame], bool] = has_picture
) -> Callable[[list[Render], list[Frame], int], Tensor]:
    """The mean of a comparison over the views `of` which it makes sense; 0 where there is none."""

    def mean(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        pairs = zip(renders, frames, strict=True)
        found = [fn(render, frame) for render, frame in pairs if of(frame)]
        if not found:
            return frames[0].camera.K.new_zeros(())
        return torch.stack(found).mean() if len(found) > 1 else found[0]

    return mean
