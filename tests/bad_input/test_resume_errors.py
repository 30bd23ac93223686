"""What is wrong with a folder that holds a run, or with resuming it, is said and harms nothing."""

import shutil

import pytest

from arguments import parse_train_args
from tests.bad_input.damage import cut, edit, files, model_file
from tests.methods import TWO
from training.model_folder import open_model_folder

pytestmark = pytest.mark.long


@pytest.fixture
def checkpoint(case, model):
    """The last one of the copied run."""
    return model / f"checkpoints/{case.last}_8"


def test_the_remedy_for_a_truncated_model_works(run, training, trained, model):
    shutil.rmtree(model_file(model).parent)
    assert run(*training(model)).code == 0
    assert model_file(model).read_bytes() == model_file(trained).read_bytes()


@pytest.mark.methods("fourdgs")
def test_a_corrupt_config_json_is_named_by_every_command(refused, render_refused, training, model):
    cut(model / "config.json")
    assert "config.json: cannot be read as JSON" in render_refused()
    line = refused(*training(model))
    assert "config.json: cannot be read as JSON" in line
    assert "--restart" in line


@pytest.mark.methods("fourdgs")
def test_a_missing_config_json_is_named_by_every_command(refused, render_refused, training, model):
    (model / "config.json").unlink()
    assert "config.json: no such file" in render_refused()
    assert "config.json: no such file" in refused(*training(model))


@pytest.mark.methods(*TWO)
def test_restart_needs_no_readable_config_json(run, training, trained, model):
    cut(model / "config.json")
    assert run(*training(model), "--restart").code == 0
    assert model_file(model).read_bytes() == model_file(trained).read_bytes()


STATE = '"stage": "fine", "scene": "", "kept": false'


@pytest.mark.methods("fourdgs")
@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", f'{{{STATE}, "step": "x"}}', f'{{{STATE}, "step": 8, "losses": 3}}',
     f'{{{STATE}, "step": 8, "losses": {{"fine": [1]}}}}'],
)  # fmt: skip
def test_a_broken_checkpoint_state_is_named(content, refused, training, model, checkpoint):
    (checkpoint / "state.json").write_text(content)
    before = files(model)
    line = refused(*training(model))
    assert f"{checkpoint.name}/state.json: cannot be read as a checkpoint's state" in line
    assert "delete the folder it is in and run the same command again" in line
    assert files(model) == before


@pytest.mark.methods(*TWO)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizers.safetensors"])
def test_a_truncated_checkpoint_is_named(name, refused, training, checkpoint, tmp_path):
    cut(checkpoint / name)
    line = refused(*training(tmp_path / "out"), "--start_checkpoint", checkpoint)
    assert f"{checkpoint.name}/{name}: cannot be read as a whole safetensors file" in line


@pytest.mark.methods(*TWO)
def test_a_finished_run_says_so_and_stays_as_it_is(run, training, model):
    before = files(model)
    code, said, _ = run(*(flag for flag in training(model) if flag != "--quiet"))
    assert code == 0
    assert "this run is finished; --restart begins it anew" in said
    assert files(model) == before


@pytest.mark.methods(*TWO)
def test_more_iterations_for_a_finished_run_are_refused_with_the_way_to_get_them(
    refused, run, training, model, checkpoint, tmp_path
):
    more = ("--iterations", "12")
    line = refused(*training(model), *more)
    assert "other settings (iterations)" in line
    assert "--start_checkpoint begins there from a checkpoint of this run" in line
    assert run(*training(tmp_path / "out"), *more, "--start_checkpoint", checkpoint).code == 0
    assert (tmp_path / "out/point_cloud/iteration_12/model.safetensors").is_file()


@pytest.mark.methods(*TWO)
def test_fewer_iterations_than_the_checkpoint_s_are_refused(
    case, refused, training, checkpoint, tmp_path
):
    fewer = ("--start_checkpoint", checkpoint, "--iterations", "5")
    line = refused(*training(tmp_path / "out"), *fewer)
    assert f"{checkpoint.name}: it is beyond the 5 steps of stage '{case.last}'" in line


@pytest.mark.methods("fourdgs")
def test_two_runs_in_one_folder_are_refused(refused, training, tmp_path):
    command = training(tmp_path / "out")
    with open_model_folder(parse_train_args(command[1:])):
        assert "out: another run is writing there; wait for it" in refused(*command)
        assert "another run" in refused(*command, "--restart")


def test_a_checkpoint_of_other_sizes_is_refused(case, refused, training, checkpoint, tmp_path):
    begin = ("--start_checkpoint", checkpoint, *case.wider.split())
    line = refused(*training(tmp_path / "out"), *begin)
    assert (
        f"{checkpoint.name}/model.safetensors: it does not fit this method and its settings" in line
    )


@pytest.mark.methods(*TWO)
def test_a_checkpoint_of_another_method_s_stage_is_refused(
    case, refused, training, checkpoint, tmp_path
):
    edit(checkpoint / "state.json", lambda state: state.update(stage="points"))
    line = refused(*training(tmp_path / "out"), "--start_checkpoint", checkpoint)
    assert f"it belongs to stage 'points', this method has {', '.join(case.stages)}" in line


@pytest.mark.methods(*TWO)
def test_a_scene_that_changed_under_a_run_is_refused(case, refused, run, short, tmp_path):
    scene = case.write(tmp_path / "scene")
    command = ["train.py", "-s", scene, "-m", tmp_path / "out", *short]
    assert run(*command).code == 0
    edit(scene / case.frames, lambda content: content["frames"].pop())
    line = refused(*command)
    assert "the frames of the scene changed since it was written" in line
    assert "--restart" in line
    assert run(*command, "--restart").code == 0


@pytest.mark.methods(*TWO)
def test_poses_that_were_corrected_after_a_run_do_not_leave_it_finished(
    case, refused, run, short, tmp_path
):
    scene = case.write(tmp_path / "scene")
    command = ["train.py", "-s", scene, "-m", tmp_path / "out", *short]
    assert run(*command).code == 0

    def further(content):
        for frame in content["frames"]:
            for row in frame["transform_matrix"][:3]:
                row[3] *= 1.5

    edit(scene / case.frames, further)
    line = refused(*command)
    assert "the poses of the scene changed since it was written; restore them" in line


@pytest.mark.methods("fourdgs")
def test_a_start_checkpoint_in_a_folder_with_another_run_is_refused(
    refused, training, trained, model, checkpoint
):
    other = trained / "checkpoints" / checkpoint.name
    line = refused(*training(model), "--start_checkpoint", other)
    assert "leave --start_checkpoint out to go on with it" in line
    line = refused(*training(model), "--restart", "--start_checkpoint", checkpoint)
    assert "--restart would remove it" in line
    assert model_file(model).is_file()
