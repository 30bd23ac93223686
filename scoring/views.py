"""Score pairs of image files: the metrics, their conventions, and why a number is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from scene.parts import NAMES, parts_in
from scene.regions import Rectangle, crop
from scoring.metrics import MS_SSIM_MIN_SIDE, d_ssim, fg_psnr, ms_ssim, psnr, ssim
from scoring.perceptual import HOW_TO_GET, MIN_SIDE, load_lpips
from utils.errors import InputError
from utils.files import inside
from utils.images import read_image, to_tensor

LABELS = "parts"  # a third folder, which says what of a view is head and torso
PARTS = ("renders", "gt")  # the two folders of images, as render.py writes them
# What stands after "results" and "per_view" in the file names of a split; the family scores "test".
REENACTMENT = "reenactment"  # another sequence of the same subject, performed by its avatar
REFINED = "test_refined"  # the test frames, whose moments were fitted to their pictures
FITTED_REENACTMENT = f"{REENACTMENT}_fitted"  # the same, every frame fitted to its picture
FITTED = {  # splits whose frames saw their pictures before they were drawn, and what was fitted
    REFINED: "what was learned per moment",
    FITTED_REENACTMENT: "expression, head pose and body motion",
}
SPLIT_SUFFIXES = {"test": "", "val": "_val", "train": "_train"}
SPLIT_SUFFIXES |= {name: f"_{name}" for name in (REENACTMENT, *FITTED)}


@dataclass(frozen=True)
class Metric:
    """One column of the table: `score` maps two (3, H, W) images in [0, 1] to a scalar tensor."""

    name: str
    convention: str
    score: Callable[[Tensor, Tensor], Tensor] | None  # None: cannot be computed here
    min_side: int = 1  # pixels; smaller images have no score
    no_number: str = ""  # why a view can have none
    region: str = ""  # scores this region of a view; empty: all of it
    part: int = 0  # scores the pixels of this part of the person; 0: all of them


@dataclass(frozen=True)
class Views:
    """The images of one method on one split: `names` are in both `PARTS` of the folder."""

    folder: Path  # <model>/<split>/<method>
    names: tuple[str, ...]
    # view, region; what a view does not show is left out
    regions: Mapping[str, Mapping[str, Rectangle]]


@dataclass(frozen=True)
class Scores:
    """What one method got on one split; None where a view has no number."""

    per_view: dict[str, dict[str, float | None]]  # metric, file name
    sizes: list[tuple[int, int]]  # width, height; each that occurs, once

    def mean(self, metric: str) -> float | None:
        """Mean over the views that have a number; None if there is none."""
        values = [value for value in self.per_view[metric].values() if value is not None]
        return math.fsum(values) / len(values) if values else None


def pixel_metrics() -> list[Metric]:
    """The metrics that need no network."""
    multiscale = {
        "min_side": MS_SSIM_MIN_SIDE,
        "no_number": f"needs images with sides of at least {MS_SSIM_MIN_SIDE} pixels",
    }
    return [
        Metric(
            "PSNR",
            "dB; squared error pooled over pixels and channels of an image",
            psnr,
            no_number="infinite: render and ground truth are equal",
        ),
        Metric(
            "fg-PSNR",
            "dB; PSNR over the pixels where any ground-truth channel is below 0.98",
            fg_psnr,
            no_number="no ground-truth pixel below 0.98, or infinite: equal there",
        ),
        Metric("SSIM", "11x11 Gaussian, sigma 1.5, zero padding, mean over every pixel", ssim),
        Metric("MS-SSIM", "5 scales, valid windows, as pytorch-msssim", ms_ssim, **multiscale),
        Metric("D-SSIM", "(1 - MS-SSIM) / 2, as 4DGS", d_ssim, **multiscale),
    ]


def region_metrics(all_views: Sequence[Views]) -> list[Metric]:
    """PSNR of every region that any view shows."""
    names = {name for views in all_views for shown in views.regions.values() for name in shown}
    return [
        Metric(
            f"PSNR-{name}",
            f"dB; PSNR in the rectangle that the box {name!r}, fixed in the head's frame, covers",
            psnr,
            no_number=f"the view does not show {name!r}, or infinite: equal there",
            region=name,
        )
        for name in sorted(names)
    ]


def part_metrics(all_views: Sequence[Views]) -> list[Metric]:
    """PSNR of head and torso, where render.py told them apart."""
    if not any((views.folder / LABELS).is_dir() for views in all_views):
        return []
    return [
        Metric(
            f"PSNR-{name}",
            f"dB; PSNR over the pixels of the {name} by the dataset's parsing, or, where it has "
            "none, by the height of the chin",
            psnr,
            no_number=f"the view shows no {name}, or infinite: equal there",
            part=k + 1,
        )
        for k, name in enumerate(NAMES)
    ]


LPIPS_FORMS = (
    # parity: the 3DGS family's metrics feed the network [0, 1]. Its key keeps its number, since a
    # table of published results compares with nothing else.
    ("", False, "v0.1 fed [0, 1], as the 3DGS family's tables"),
    ("-rescaled", True, "v0.1 fed [-1, 1], as its authors define it"),
)


def lpips_metrics(weights: Path | None, device: torch.device, *, missing: str) -> list[Metric]:
    """LPIPS of both networks in both forms; without `weights` they say `missing`."""
    metrics = []
    for net in ("vgg", "alex"):
        lpips = load_lpips(weights, net).to(device) if weights else None
        for suffix, rescale, convention in LPIPS_FORMS:
            score = partial(lpips, rescale=rescale) if lpips else None
            reason = f"needs images with sides of at least {MIN_SIDE} pixels" if lpips else missing
            metrics.append(Metric(f"LPIPS-{net}{suffix}", convention, score, MIN_SIDE, reason))
    return metrics


def missing_lpips(*, skipped: bool) -> str:
    """The one line that says why LPIPS is null."""
    return "skipped as asked" if skipped else f"no weights file; {HOW_TO_GET}"


@torch.no_grad()
def score_views(
    views: Views, metrics: list[Metric], device: torch.device, *, quiet: bool
) -> Scores:
    """Score every view; raises `InputError` for an image that cannot be read or does not fit."""
    per_view: dict[str, dict[str, float | None]] = {metric.name: {} for metric in metrics}
    sizes = set()
    label = f"{views.folder.parent.name}/{views.folder.name}"
    for name in tqdm(views.names, desc=label, unit="view", disable=quiet):
        image, truth = read_pair(views.folder, name, device)
        height, width = image.shape[-2:]
        sizes.add((width, height))
        parts = _read_parts(views.folder, name, height, width).to(device)
        for metric in metrics:
            part = views.regions.get(name, {}).get(metric.region, (0, 0, width, height))
            if part[2] > width or part[3] > height:
                raise InputError(
                    f"{views.folder}: the region {metric.region!r} of {name} is {part}, expected "
                    f"one within its {width}x{height} pixels; run render.py again"
                )
            possible = metric.score is not None and min(height, width) >= metric.min_side
            possible &= not metric.region or metric.region in views.regions.get(name, {})
            pair = [crop(image, part), crop(truth, part)]
            if metric.part:
                shown = parts == metric.part
                possible &= bool(shown.any())
                pair = [picture[:, None, shown] for picture in pair]
            value = float(metric.score(*pair)) if possible else math.nan
            per_view[metric.name][name] = value if math.isfinite(value) else None
    return Scores(per_view, sorted(sizes))


def _read_parts(folder: Path, name: str, height: int, width: int) -> Tensor:
    """(H, W) the part that each pixel of a view shows; 0 everywhere where nobody says."""
    path = inside(folder, folder / LABELS / name)
    if not path.is_file():
        return torch.zeros(height, width)
    picture = read_image(path)
    if picture.shape[:2] != (height, width):
        raise InputError(
            f"{path}: it has {picture.shape[1]}x{picture.shape[0]} pixels, its view "
            f"{width}x{height}; run render.py again"
        )
    return torch.from_numpy(parts_in(picture))


def read_pair(folder: Path, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Render and ground truth of one view, (3, H, W) in [0, 1]."""
    image, truth = (read_image(inside(folder, folder / part / name)) for part in PARTS)
    if image.shape != truth.shape or image.shape[2] != 3:
        found, expected = ("x".join(map(str, (x.shape[1::-1]))) for x in (image, truth))
        raise InputError(
            f"{folder / PARTS[0] / name}: {image.shape[2]} channels of {found} pixels, its ground "
            f"truth {truth.shape[2]} of {expected}; expected RGB of one size: run render.py again"
        )
    return to_tensor(image, device), to_tensor(truth, device)
