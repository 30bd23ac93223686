"""The stages from a video to a subject's folder, with nets that only pretend to look."""

import shutil

import numpy as np
import pytest
import torch

from capture import clip as stages
from capture.clip import Settings, Stages, checked
from capture.nets import Box
from capture.subject import Holding, own_place, write_subject
from scripts.check_data import check
from tests.capture.made import made, performed, toy_table
from tests.scene.datasets.reading import decode, read
from utils.errors import InputError
from utils.files import read_json
from utils.video import VideoWriter

COUNT, SIZE = 120, 240
SETTINGS = Settings(fps=0, size=64)
pytestmark = pytest.mark.long  # ffmpeg writes the video


class PretendedNets:
    """They read a frame's number off its grey level, and know where everything is."""

    fingerprint, folder = "pretended", None

    def __init__(self):
        self.looked = 0
        pixels = performed(COUNT, Settings().focal * SIZE, SIZE)[2].numpy()
        self.seen = np.concatenate((pixels[:, :468], np.zeros((COUNT, 468, 1), np.float32)), 2)
        self.irises = pixels[:, 468:]
        self.lids = made(1).lids[0]

    def _frame(self, picture):
        return int(np.clip(round(float(picture[:40].mean()) / 2), 0, COUNT - 1))

    def faces(self, picture):
        points = self.seen[self._frame(picture)]
        corners = (*points[:, :2].min(0), *points[:, :2].max(0))
        return [Box(0.9, corners, points[:6, :2])]

    def points(self, picture, crop):
        self.looked += 1
        return self.seen[self._frame(picture)], 1.0

    def eyes(self, picture, points):
        return self.lids, np.repeat(self.irises[self._frame(picture)][:, None], 5, 1)

    def palms(self, picture):
        return []

    def person(self, picture):
        matte = np.zeros(picture.shape[:2], np.float32)
        matte[8:, 8:-8] = 1
        return matte


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    file = tmp_path_factory.mktemp("video") / "me.mp4"
    with VideoWriter(file, 25) as writer:
        for k in range(COUNT):
            picture = np.full((SIZE, SIZE, 3), 2 * k, np.uint8)
            picture[60:] = np.random.default_rng(k).integers(60, 200, (SIZE - 60, SIZE, 3))
            writer.add(picture)
    return file


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "STEPS", 12)
        patch.setattr(stages, "STEPS_AGAIN", 4)
        patch.setattr(stages, "_refined", lambda clip, part, model: part)
        yield


def run(video, out, nets, holding=Holding()):  # noqa: B008  (frozen)
    model, table = toy_table()
    own_place(out, [video])
    work = Stages(out / "tracking", nets, quiet=True)
    clips = [work.clip(video, SETTINGS)]
    clips, fits = checked(clips, work.fitted(clips, model, table))
    return write_subject(out, clips, fits, model, SETTINGS, holding, "nets", quiet=True)


@pytest.fixture(scope="module")
def made_folder(video, quick, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "me"
    run(video, out, PretendedNets(), Holding(person="Nobody"))
    return out


def test_the_folder_is_read_by_its_family_and_every_picture_decodes(made_folder):
    scene = read("imavatar", made_folder / "me", init_points=20)
    assert len(scene.train) + len(scene.test) < COUNT  # neighbours of held-out blocks
    assert len(scene.test) >= 20
    decode(scene)


def test_the_doctor_finds_no_error(made_folder, tmp_path, capsys):
    assert check(made_folder / "me", tmp_path, []) == 0


def test_the_note_says_whose_face_it_is_and_a_verdict_for_every_frame(made_folder):
    note = read_json(made_folder / "avatar.json")
    assert "the face of Nobody" in note["note"]
    assert len(note["videos"][0]["verdicts"]) == COUNT
    assert {"frame", "time", "verdict"} == set(note["videos"][0]["verdicts"][0])
    assert (made_folder / "overlay.mp4").stat().st_size > 1000
    assert "tracked" in (made_folder / "tracking.html").read_text()


def test_again_nothing_is_looked_at_and_nothing_is_written(made_folder, video, quick):
    nets = PretendedNets()
    before = {f: f.stat().st_mtime_ns for f in made_folder.rglob("*") if f.is_file()}
    run(video, made_folder, nets, Holding(person="Nobody"))
    assert nets.looked == 0
    assert before == {f: f.stat().st_mtime_ns for f in made_folder.rglob("*") if f.is_file()}


def test_a_killed_run_looks_at_what_is_missing_only(video, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "CHUNK", 50)
    whole = Stages(tmp_path, PretendedNets(), quiet=True).clip(video, SETTINGS)
    found = sorted(tmp_path.glob("found_*"))
    before = [file.read_bytes() for file in found]
    found[-1].unlink()
    nets = PretendedNets()
    again = Stages(tmp_path, nets, quiet=True).clip(video, SETTINGS)
    assert nets.looked == COUNT - 100
    assert [file.read_bytes() for file in found] == before
    assert np.array_equal(whole.seen.points, again.seen.points)


def test_a_foreign_folder_is_never_touched(video, tmp_path):
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"was not made by scripts/make_avatar\.py"):
        own_place(tmp_path / "me", [video])
    assert [f.name for f in (tmp_path / "me").iterdir()] == ["thesis.txt"]


def test_a_video_in_the_folder_to_make_is_refused(tmp_path):
    with pytest.raises(InputError, match="it lies in"):
        own_place(tmp_path, [tmp_path / "me.mp4"])


def test_two_clips_share_one_identity(video, quick, tmp_path):
    model, table = toy_table()
    work = Stages(tmp_path / "tracking", PretendedNets(), quiet=True)
    other = tmp_path / "other.mp4"
    shutil.copyfile(video, other)
    clips = [work.clip(path, SETTINGS) for path in (video, other)]
    fits = work.fitted(clips, model, table)
    assert torch.equal(fits[0].shape, fits[1].shape)
    assert len(fits[0].pose) == len(fits[1].pose) == COUNT
