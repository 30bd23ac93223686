"""A rig's videos whose pictures are not extracted yet, examined without writing anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from arguments.settings import Settings
from scene.datasets._rig_videos import Video, videos_of
from scene.datasets.dynerf import read_rig
from scene.world import AS_IT_IS
from scripts.data_doctor.checks import Problem, error, note, warning
from utils.video_frames import frame_rate


def unextracted(path: Path, settings: Settings) -> list[Video]:
    """What reading the folder would extract; raises InputError where its cameras are wrong."""
    if settings.dataset != "dynerf" or not path.is_dir():
        return []
    videos = videos_of(path, read_rig(path, AS_IT_IS).cameras, settings.model).values()
    return [video for video in videos if not video.folder.is_dir()]


def video_problems(videos: list[Video]) -> Iterator[Problem]:
    """What is wrong with them, and what is not looked at."""
    counts = {}
    for video in videos:
        capture = cv2.VideoCapture(str(video.file), cv2.CAP_FFMPEG)
        good, _ = capture.read()
        counts[video.file.name] = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if not good:
            yield error(f"{video.file}: cannot be decoded; copy it again")
            continue
        if video.misfit():
            yield error(video.misfit())
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield warning(f"the videos differ in their numbers of pictures ({found}); trim them")
    rates = {rate for video in videos if (rate := frame_rate(video.file))}
    if len(rates) > 1:
        found = ", ".join(f"{rate:g}" for rate in sorted(rates))
        yield warning(f"the videos differ in their rates ({found}); a rig is synchronised")
    yield note(
        f"pictures of {len(videos)} videos are not extracted yet; training does that into "
        f"{videos[0].folder.parent}; look again after it for what is in them"
    )
