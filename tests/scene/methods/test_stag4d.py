"""STAG4D: what teaches it, how rows grow, and what a video without other sides asks for."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import training.guidance
from arguments import parse_train_args
from gaussian_renderer import render
from scene import load_scene
from scene.frames import FrameLoader
from scene.methods.stag4d import has_role, side, window
from scene.visual_hull import carve
from scripts.bench.visual_hull import surface
from tests.building import built
from tests.tiny_scene import write_tiny_views
from tests.training.guidance.tiny_zero123 import write_tiny_zero123
from train import train
from training.optimizers import Optimizers
from training.samplers import Imagined
from utils.devices import CPU
from utils.errors import InputError

FAKES = Path(training.guidance.__path__[0]).parents[1] / "tests/training/guidance/fakes"
SMALL = "--method stag4d --multires 1 --init_steps 4 --iterations 8 --init_points 200 --iters 2"
GROWING = (
    "--method stag4d --multires 1 --init_steps 0 --batch_size 1 --init_points 400 "
    "--densify_from_iter 0 --densification_interval 1 --pruning_from_iter 1000"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_views(tmp_path_factory.mktemp("data") / "views")


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """The video without its views of other sides."""
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("data") / "alone")
    shutil.rmtree(copy / "zero123")
    return copy


@pytest.fixture(scope="module", autouse=True)
def fakes():
    """--guidance finds the files of fakes/, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.guidance, "__path__", [*training.guidance.__path__, str(FAKES)])
        yield


def settings_of(folder, *flags, base=SMALL, out="unused"):
    words = [word for text in (base, *flags) for word in text.split()]
    return parse_train_args(["-s", str(folder), "-m", str(out), "--quiet", *words])


def built_of(settings):
    scene = load_scene(settings.dataset, settings.model, settings.data)
    return scene, built(scene, settings)


def steps_of(scene, method, stage, count):
    """Frames and renders of a stage's first steps, each trained on."""
    optimizers, loader = Optimizers(stage.params), FrameLoader(10, CPU)
    batches = stage.sampler(scene.train, stage.name, 0, 0)
    for step, batch in enumerate(islice(batches, count), start=1):
        method.on_step(step)
        frames = [loader.load(frame, method.background) for frame in batch]
        posed = stage.posed(frames)
        pairs = zip(frames, posed, strict=True)
        renders = [render(f.camera, gaussians, f.background) for f, gaussians in pairs]
        losses = {term.name: term(renders, frames, step) for term in stage.losses}
        sum(losses.values()).backward()
        losses |= {name: pull() for name, pull in stage.pulls.items()}
        stage.strategy.observe(renders)
        stage.strategy.update(step, method.table, optimizers)
        optimizers.step()
        yield frames, losses


def test_without_weights_and_without_other_sides_one_line_says_what_there_may_be(alone):
    with pytest.raises(InputError, match=r"make_anchors.*--guidance zero123") as caught:
        train(settings_of(alone))
    assert "\n" not in str(caught.value)


def test_guidance_without_weights_stops_before_the_output_folder_is_there(alone, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"zero123 needs weights.*or --guidance none"):
        train(settings_of(alone, "--guidance zero123", out=out))
    assert not out.exists()


@pytest.mark.parametrize("resumed", [3, 6])
def test_a_guided_run_resumes_to_the_same_bytes(resumed, alone, tmp_path, capsys):
    kept = f"--guidance greyish --checkpoint_iterations {resumed}"
    whole = train(settings_of(alone, kept, out=tmp_path / "whole"))
    assert "guidance greyish: 0.0 s a step" in capsys.readouterr().out
    stage = "static" if resumed == 3 else "moving"
    start = tmp_path / f"whole/checkpoints/{stage}_{resumed}"
    flags = f"--guidance greyish --start_checkpoint {start}"
    other = train(settings_of(alone, flags, out=tmp_path / "other"))
    files = [folder / "model.safetensors" for folder in (whole, other)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not any("guidance" in name for name in load_file(files[0]))


def test_a_real_video_without_other_sides_is_refused_and_with_guidance_trained(
    data_folder, tmp_path
):
    rose = data_folder / "rgba_video/blooming_rose"
    with pytest.raises(InputError, match=r"pictures of other sides.*or a prior"):
        train(settings_of(rose, "-r 32 --size 4"))
    train(settings_of(rose, "-r 32 --size 4 --guidance greyish", out=tmp_path))
    assert (tmp_path / "point_cloud/iteration_8/point_cloud.ply").is_file()


def test_one_step_with_the_prior_has_two_views_a_moment_of_several_sizes(folder, tmp_path):
    weights = write_tiny_zero123(tmp_path / "zero123")
    flags = f"--guidance zero123 --guidance_path {weights} --lambda_anchor 0 --batch_size 3"
    scene, method = built_of(settings_of(folder, flags))
    moving = method.stages()[1]
    before = {name: value.clone() for name, value in method.state_dict().items()}
    ((frames, losses),) = steps_of(scene, method, moving, 1)
    assert [frame.role for frame in frames] == ["reference", "orbit"] * 3
    assert {frame.camera.width for frame in frames} == {24, 512}
    assert all(isinstance(frame, Imagined) for frame in frames[1::2])
    assert losses["guidance"].isfinite()
    moved = [k for k, v in method.state_dict().items() if not torch.equal(v, before[k])]
    assert {"table.columns.means", "table.columns.sh_dc"} < set(moved)
    assert moving.holds > 2**20


def test_noise_slides_down_as_specified_and_goes_on_through_both_stages(alone):
    for step, low, high in ((0, 0.5, 0.95), (700, 0.388, 0.845), (1500, 0.26, 0.725)):
        assert window(step) == pytest.approx((low, high))
    assert window(3000) == window(9000) == pytest.approx((0.02, 0.5))
    scene, method = built_of(settings_of(alone, "--guidance greyish --init_steps 700"))
    for stage, before in zip(method.stages(), (0, 700), strict=True):
        (loss,) = [term for term in stage.losses if term.name == "guidance"]
        list(steps_of(scene, method, stage, 1))
        (guidance,) = {cell.cell_contents for cell in loss.fn.__closure__ if hasattr(
            cell.cell_contents, "windows")}  # fmt: skip
        assert guidance.windows[-1] == window(before + 1)


def test_imagined_views_grow():
    assert [side(2000)(step) for step in (1, 599, 600, 1199, 1200, 8000)] == [
        128, 128, 256, 256, 512, 512
    ]  # fmt: skip


def test_the_static_stage_shows_one_moment_and_nothing_moves(folder):
    for canonical, row in ((0.0, 0), (0.5, 2), (1.0, 4)):
        scene, method = built_of(settings_of(folder, f"--canonical {canonical}"))
        static = method.stages()[0]
        for frames, _ in steps_of(scene, method, static, 2):
            assert {frame.index for frame in frames} == {row}
    assert not any(group.name in ("grid", "deformation") for group in static.params)


def test_frames_of_a_moment_are_posed_once_and_as_they_would_be_alone(folder):
    scene, method = built_of(settings_of(folder))
    moving = method.stages()[1]
    list(steps_of(scene, method, moving, 3))
    frames = [frame for frame in scene.train if frame.index in (1, 3)]
    posed = moving.posed(frames)
    assert len({id(gaussians) for gaussians in posed}) == 2
    for frame, gaussians in zip(frames, posed, strict=True):
        assert torch.equal(gaussians.means, method(frame).means)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_rows_grow_by_the_share_whatever_the_scale_of_the_loss(scale, folder):
    share = 0.1
    flags = f"--densify_grad_threshold_percent {share} --max_gaussians 100000"
    scene, method = built_of(settings_of(folder, flags, base=GROWING))
    stage = method.stages()[1]
    scaled = [replace(t, weight=lambda step, t=t: scale * t.weight(step)) for t in stage.losses]
    rows = [len(method.table)]
    for _ in steps_of(scene, method, replace(stage, losses=scaled), 6):
        rows.append(len(method.table))
    growth = np.diff(rows) / rows[:-1]
    # Of the rows that were pulled: those that are hidden, or were not drawn, were not.
    assert (growth > 0.4 * share).all()
    assert (growth <= share + 2 / np.array(rows[:-1])).all()


def test_rows_stop_at_the_most_and_those_of_wrong_sizes_go(folder):
    flags = "--densify_grad_threshold_percent 1 --max_gaussians 900"
    scene, method = built_of(settings_of(folder, flags, base=GROWING))
    list(steps_of(scene, method, method.stages()[1], 4))
    assert len(method.table) == 900
    flags = "--densify_until_iter 0 --prune_until_iter 9 --largest 0.05 --smallest 0.01 "
    flags += "--pruning_from_iter 0 --pruning_interval 1"
    scene, method = built_of(settings_of(folder, flags, base=GROWING))
    with torch.no_grad():
        method.table.columns["log_scales"][:30] = np.log(0.2)
        method.table.columns["log_scales"][30:70] = np.log(0.002)
        method.table.columns["log_scales"][70:] = np.log(0.03)
        method.table.columns["opacity_logits"][100] = 0.0  # the most opaque row always stays
    list(steps_of(scene, method, method.stages()[1], 1))
    sizes = method.table.columns["log_scales"].amax(1).exp()
    assert len(method.table) == 330
    assert float(sizes.min()) > 0.009
    assert float(sizes.max()) < 0.06


def test_a_fixed_threshold_takes_the_place_of_the_share(folder):
    rows = []
    for threshold in ("1e-12", "1e12"):
        flags = f"--densify_grad_threshold {threshold} --max_gaussians 100000"
        scene, method = built_of(settings_of(folder, flags, base=GROWING))
        list(steps_of(scene, method, method.stages()[1], 1))
        rows.append(len(method.table))
    assert rows[0] > 1.5 * rows[1]
    assert rows[1] == 400


def test_anchors_that_do_not_count_are_not_drawn(folder):
    scene, method = built_of(settings_of(folder, "--lambda_anchor 0 --guidance greyish"))
    ((frames, losses),) = steps_of(scene, method, method.stages()[1], 1)
    assert not any(map(has_role("anchor"), frames))
    assert "anchors" not in losses


def test_the_hull_teaches_an_imagined_view_and_knows_no_view_that_is_held_out(folder):
    flags = "--lambda_hull 1 --held_out_anchors 1"
    scene, method = built_of(settings_of(folder, flags))
    static, moving = method.stages()
    ((frames, losses),) = steps_of(scene, method, moving, 1)
    imagined = frames[-1]
    assert isinstance(imagined, Imagined)
    assert imagined.camera.width == 128
    assert {f.role for f in imagined.moment} == {"reference", "anchor"}
    assert not {f.image_path for f in imagined.moment} & {f.image_path for f in scene.test}
    assert float(losses["hull"].detach()) > 0
    assert static.holds == moving.holds > 2**20


def test_one_silhouette_has_no_hull(alone):
    _, method = built_of(settings_of(alone, "--guidance greyish --lambda_hull 1"))
    assert not any(term.name == "hull" for stage in method.stages() for term in stage.losses)


def test_the_drawn_sizes_alone_round_gaussians(folder):
    """A row that no view draws has no part in the term."""
    scene, method = built_of(settings_of(folder))
    with torch.no_grad():
        method.table.columns["means"][0] = torch.tensor([0.0, 0.0, 50.0])
        method.table.columns["log_scales"][0] = torch.tensor([0.0, -9.0, -9.0])
    ((_, losses),) = steps_of(scene, method, method.stages()[0], 1)
    assert float(losses["long"].detach()) < 1.0


@pytest.mark.long
def test_hull_and_silhouettes_of_the_real_views_agree(data_folder):
    """The cameras are those that the views were made for: a mirrored rig has another hull."""
    source = data_folder / "rgba_video/minions"
    settings = settings_of(source, "-r 96 --size 1")
    scene = load_scene(settings.dataset, settings.model, settings.data)
    loader = FrameLoader(10, CPU)
    frames = [loader.load(frame, torch.ones(3)) for frame in scene.train]

    def agreement(views):
        hull, found = carve(views), []
        for frame in views:
            mask, drawn = frame.alpha[0] > 0.5, surface(hull, frame.camera)[0]
            found.append(float((mask & drawn).sum() / (mask | drawn).sum()))
        return np.mean(found)

    assert agreement(frames) >= 0.95
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    turned = [
        replace(f, camera=replace(f.camera, viewmat=mirror @ f.camera.viewmat @ mirror))
        for f in frames
    ]
    assert agreement(turned) < 0.93
