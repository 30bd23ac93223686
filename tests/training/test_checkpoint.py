import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from arguments import parse_train_args
from scene import load_scene
from scene.facts import FILES
from scene.methods import saved_iterations
from tests.building import built, facts_of
from tests.tiny_scene import write_tiny_scene
from training.checkpoint import Checkpoints
from training.fingerprint import fingerprint
from training.optimizers import Optimizers
from training.strategies import GradientDensify
from utils.errors import InputError

FLAGS = "--coarse_iterations 30 --iterations 60 --init_points 20 --multires 1 --checkpoint_every 10"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = write_tiny_scene(tmp_path_factory.mktemp("data") / "tiny")
    return parse_train_args(["-s", str(folder), "-m", "unused", *FLAGS.split()])


@pytest.fixture(scope="module")
def scene(settings):
    return load_scene(settings.dataset, settings.model, settings.data)


@pytest.fixture
def method(scene, settings):
    return built(scene, settings)


@pytest.fixture(scope="module")
def facts(scene, settings):
    return facts_of(scene, settings)


@pytest.fixture
def open_checkpoints(settings, method, tmp_path):
    def open_them(**options):
        run = replace(settings.run, **options)
        return Checkpoints(tmp_path, method.stages(), run, "scene")

    return open_them


def save(checkpoints, method, *moments):
    """Write checkpoints of (stage, step)."""
    stages = {stage.name: stage for stage in method.stages()}
    for name, step in moments:
        checkpoints.save(stages[name], step, method, Optimizers(stages[name].params))


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_only_the_newest_is_kept_beside_those_asked_for(open_checkpoints, method):
    checkpoints = open_checkpoints(checkpoint_iterations=[20])
    save(checkpoints, method, ("coarse", 10), ("coarse", 20), ("coarse", 30), ("fine", 10))
    assert names(checkpoints) == ["coarse_20", "fine_10"]
    save(checkpoints, method, ("fine", 20), ("fine", 30))
    assert names(checkpoints) == ["coarse_20", "fine_20", "fine_30"]


def test_kept_checkpoints_survive_a_later_run_that_does_not_ask_for_them(open_checkpoints, method):
    save(open_checkpoints(checkpoint_iterations=[10]), method, ("coarse", 10), ("coarse", 20))
    later = open_checkpoints()
    save(later, method, ("coarse", 30))
    assert names(later) == ["coarse_10", "coarse_30"]


def test_an_outdated_checkpoint_that_a_kill_left_is_removed_by_the_next_save(
    open_checkpoints, method
):
    checkpoints = open_checkpoints()
    save(checkpoints, method, ("coarse", 10))
    checkpoints.outdated = []  # as if killed between writing one and removing the other
    save(checkpoints, method, ("coarse", 20))
    assert names(checkpoints) == ["coarse_10", "coarse_20"]
    resumed = open_checkpoints()
    assert resumed.saved.step == 20
    save(resumed, method, ("coarse", 30))
    assert names(resumed) == ["coarse_30"]


def test_the_newest_is_the_last_step_of_the_last_stage(open_checkpoints, method):
    save(open_checkpoints(checkpoint_iterations=[10, 30]), method, ("coarse", 30), ("fine", 10))
    saved = open_checkpoints().saved
    assert (saved.stage, saved.step) == ("fine", 10)


def test_resuming_restores_rows_moments_and_strategy(case, tiny_folder, tmp_path):
    flags = [*case.flags(iterations=60, first=30), "--init_points", "20"]
    settings = parse_train_args(["-s", str(tiny_folder), "-m", "unused", *flags])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = built(scene, settings)
    stage = method.stages()[-1]
    optimizers = Optimizers(stage.params)
    sum(p.square().sum() for p in method.parameters()).backward()
    optimizers.step()
    if isinstance(stage.strategy, GradientDensify):
        stage.strategy.grad_sum = torch.arange(20.0)
        stage.strategy.count = torch.arange(20.0)
    keep = torch.arange(20) < 15
    method.table.resize(keep, method.table.rows(torch.tensor([0])), optimizers)
    Checkpoints(tmp_path, method.stages(), settings.run, "scene").save(
        stage, 20, method, optimizers
    )

    other = built(scene, settings)
    again = other.stages()[-1]
    assert [stage.name for stage in other.stages()] == list(case.stages)
    checkpoints = Checkpoints(tmp_path, other.stages(), settings.run, "scene")
    start, moments = checkpoints.resume(again, other)
    assert start == 20
    assert len(other.table) == 16
    for name, value in method.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    found = Optimizers(again.params, moments).state()
    assert found.keys() == optimizers.state().keys()
    assert all(torch.equal(found[name], value) for name, value in optimizers.state().items())
    kept = again.strategy.state()
    assert kept.keys() == stage.strategy.state().keys()
    assert all(torch.equal(kept[name], value) for name, value in stage.strategy.state().items())


def test_a_run_whose_terms_changed_is_refused_with_both_lists(open_checkpoints, method, settings):
    save(open_checkpoints(), method, ("coarse", 10))
    fewer = method.stages()
    fewer[1].pulls.clear()
    checkpoints = open_checkpoints()
    assert checkpoints.saved.losses == {"coarse": ["l1"], "fine": ["l1", "planes"]}
    with pytest.raises(
        InputError, match=r"losses l1 \(coarse\); l1, planes \(fine\), this run has l1 "
    ):
        Checkpoints(checkpoints.model_path, fewer, settings.run, "scene")
    restarted = replace(settings.run, restart=True)
    assert Checkpoints(checkpoints.model_path, fewer, restarted, "scene").saved is None


def test_a_checkpoint_of_an_older_version_that_names_no_terms_is_gone_on_from(
    open_checkpoints, method
):
    save(open_checkpoints(), method, ("coarse", 10))
    file = open_checkpoints().saved.folder / "state.json"
    state = json.loads(file.read_text())
    del state["losses"]
    file.write_text(json.dumps(state))
    assert open_checkpoints().resume(method.stages()[0], method)[0] == 10


def test_a_model_without_gaussians_yet_is_exported_without_a_ply(open_checkpoints, method, facts):
    checkpoints, (coarse, _) = open_checkpoints(), method.stages()
    method.table.allocate(0)
    folder = checkpoints.export(coarse, 10, method, facts)
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", *FILES}


def test_stages_before_the_saved_one_are_done_and_later_ones_fresh(open_checkpoints, method):
    coarse, fine = method.stages()
    save(open_checkpoints(), method, ("coarse", 30))
    assert open_checkpoints().resume(fine, method) == (0, {})
    save(open_checkpoints(), method, ("fine", 10))
    assert open_checkpoints().resume(coarse, method) == (30, {})


def test_nan_in_model_or_moments_is_not_saved(open_checkpoints, method, facts):
    checkpoints, (coarse, _) = open_checkpoints(), method.stages()
    optimizers = Optimizers(coarse.params)
    sum(p.square().sum() for p in method.parameters()).backward()
    optimizers.step()
    optimizers.state()["means.0.exp_avg_sq"][0] = torch.inf
    with pytest.raises(
        InputError, match=r"the optimizer after coarse step 10.*adam\.means\.0\.exp_avg_sq"
    ):
        checkpoints.save(coarse, 10, method, optimizers)
    method.table.columns["quats"].data[1, 2] = torch.nan
    with pytest.raises(
        InputError, match=r"the model after coarse step 10.*table\.columns\.quats \(1 of"
    ):
        checkpoints.save(coarse, 10, method, optimizers)
    with pytest.raises(InputError, match=r"table\.columns\.quats"):
        checkpoints.export(coarse, 10, method, facts)
    assert not list(checkpoints.model_path.rglob("*.safetensors"))


def test_an_export_replaces_an_older_one_whole(open_checkpoints, method, facts):
    checkpoints, (_, fine) = open_checkpoints(), method.stages()
    folder = checkpoints.export(fine, 60, method, facts)
    (folder / "extra").write_text("of an older version")
    method.table.columns["means"].data.add_(1)
    assert checkpoints.export(fine, 60, method, facts) == folder
    written = {"model.safetensors", "point_cloud.ply", *FILES}
    assert {path.name for path in folder.iterdir()} == written
    found = load_file(folder / "model.safetensors")["table.columns.means"]
    assert torch.equal(found, method.table.columns["means"])
    assert not list(checkpoints.model_path.rglob("*-part*"))


def test_exports_of_earlier_stages_are_no_saved_iterations(open_checkpoints, method, facts):
    checkpoints, (coarse, fine) = open_checkpoints(), method.stages()
    checkpoints.export(coarse, 30, method, facts)
    checkpoints.export(fine, 7, method, facts)
    checkpoints.export(fine, 60, method, facts)
    (checkpoints.model_path / "point_cloud" / "iteration_9.gaussians-part").mkdir()
    assert saved_iterations(checkpoints.model_path) == [7, 60]


def test_a_run_is_finished_when_its_last_step_is_saved_and_exported(
    open_checkpoints, method, facts
):
    checkpoints, (_, fine) = open_checkpoints(), method.stages()
    save(checkpoints, method, ("fine", 60))
    assert open_checkpoints().finished(fine) is None
    folder = checkpoints.export(fine, 60, method, facts)
    assert open_checkpoints().finished(fine) == folder
    assert open_checkpoints(restart=True).finished(fine) is None


def test_a_checkpoint_that_kept_the_older_fingerprint_is_gone_on_from(
    open_checkpoints, method, settings, scene
):
    save(open_checkpoints(), method, ("coarse", 10))
    folder = open_checkpoints().saved.folder
    now = fingerprint(scene.train)

    def opened(stored):
        state = json.loads((folder / "state.json").read_text()) | {"scene": stored}
        (folder / "state.json").write_text(json.dumps(state))
        return Checkpoints(folder.parents[1], method.stages(), settings.run, now)

    assert opened(now["older"]).saved.step == 10
    assert opened(now).saved.step == 10
    with pytest.raises(InputError, match="the pictures or times of the scene changed"):
        opened("0123456789abcdef")
    with pytest.raises(InputError, match="the poses and codes of the scene changed"):
        opened(now | {"poses": "x", "codes": None})
    with pytest.raises(InputError, match="cannot be read as a checkpoint's state"):
        opened(3)


def test_a_folder_of_another_name_than_its_checkpoint_s_is_none(open_checkpoints, method):
    save(open_checkpoints(), method, ("coarse", 10))
    folder = open_checkpoints().saved.folder
    folder.rename(folder.with_name("coarse_10.part"))  # half of it, of an older version
    assert open_checkpoints().saved is None
