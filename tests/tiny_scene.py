"""Folders of a few pixels: a coloured box that slides, drawn by projecting its corners."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch

from scene.head.files import save_head_model
from scene.head.model import pose_head
from scripts.demo.toy_head import toy_head

SIZE, ANGLE, RADIUS = 24, 0.8, 4.0
FOV_Y = 49.1  # degrees, of write_tiny_views
COUNTS = {"train": 12, "test": 3, "val": 2}


def write_tiny_scene(folder: Path, size: int = SIZE) -> Path:
    """Write the folder and return it."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        (folder / split).mkdir(parents=True)
        frames = []
        for k in range(count):
            when = (k + 0.5 * (split != "train")) / count
            pose = look_at_origin(rng.uniform(-math.pi, math.pi), rng.uniform(0.1, 0.9))
            picture = draw(pose, when, size)
            cv2.imwrite(
                str(folder / split / f"r_{k:03d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA)
            )
            frames.append(
                {
                    "file_path": f"./{split}/r_{k:03d}",
                    "time": when,
                    "transform_matrix": pose.tolist(),
                }
            )
        content = {"camera_angle_x": ANGLE, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


def write_tiny_head(folder: Path, size: int = SIZE) -> Path:
    """Write the box in NeRFBlendShape's layout, its place told by the expression; return the
    folder."""
    rng = np.random.default_rng(0)
    count = COUNTS["train"] + COUNTS["test"]  # of a short clip the last fifth tests
    (folder / "ori_imgs").mkdir(parents=True)
    (folder / "mask").mkdir()
    frames = []
    for k in range(count):
        when = (0.5 + 3 * k % count) / count
        pose = look_at_origin(rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.5))
        picture = draw(pose, when, size)
        cv2.imwrite(
            str(folder / f"ori_imgs/{k}.jpg"), cv2.cvtColor(picture[..., :3], cv2.COLOR_RGB2BGR)
        )
        cv2.imwrite(str(folder / f"mask/{k + 1}.png"), picture[..., 3])
        expression = [when - 0.5, math.cos(math.pi * when), 0.25]
        frames.append({"img_id": k, "exp_ori": expression, "transform_matrix": pose.tolist()})
    focal = size / (2 * math.tan(ANGLE / 2))
    content = {
        "w": size,
        "h": size,
        "fx": focal,
        "fy": focal,
        "cx": size / 2,
        "cy": size / 2,
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def write_tiny_flame_head(folder: Path, size: int = SIZE) -> Path:
    """Write the toy head, talking and turning, in INSTA's layout, with its model beside; return
    the folder."""
    model, rng = toy_head(), np.random.default_rng(0)
    count = COUNTS["train"] + COUNTS["test"]
    focal, camera = 3.0 * size, np.diag([1.0, -1.0, -1.0, 1.0])
    camera[2, 3] = 1.0  # to the world, OpenCV axes: a metre before the face
    frames = []
    for k in range(count):
        expression = 0.5 * rng.random(6)
        pose = np.zeros((5, 3))
        pose[2, 0], pose[3:, 1] = rng.uniform(0, 0.3), rng.uniform(-0.2, 0.2)
        picture = draw_mesh(posed_vertices(model, pose, expression), model, camera, focal, size)
        for name, values in (("exp", expression), ("jaw", pose[2]), ("eyes", pose[3:])):
            file = folder / "flame" / name / f"{k:05d}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(file, values.flatten())
        (folder / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"images/{k:05d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))
        frames.append(
            {
                "file_path": f"images/{k:05d}.png",
                "exp_path": f"flame/exp/{k:05d}.txt",
                "transform_matrix": camera.tolist(),
            }
        )
    lens = {"fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": size / 2, "w": size, "h": size}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    save_head_model(model, folder / "head_model.npz")
    return folder


def posed_vertices(model, pose: np.ndarray, expression: np.ndarray) -> np.ndarray:
    pose, expression = (torch.from_numpy(v.flatten()).float() for v in (pose, expression))
    return pose_head(model, pose, expression=expression).vertices.numpy()


def draw_mesh(vertices, model, camera: np.ndarray, focal: float, size: int) -> np.ndarray:
    """RGBA of a mesh in stripes, far triangles first; `camera` (4, 4) to world, OpenCV axes."""
    canvas = np.zeros((size, size, 4), np.uint8)
    local = (vertices - camera[:3, 3]) @ camera[:3, :3]
    pixels = size / 2 + focal * local[:, :2] / local[:, 2:]
    stripes = np.clip(128 + 90 * np.sin(60 * model.template.numpy()), 0, 255)
    faces = model.faces.numpy()
    for face in faces[np.argsort(-local[faces, 2].mean(1))]:
        color = (*stripes[face].mean(0).tolist(), 255)
        cv2.fillConvexPoly(canvas, np.round(pixels[face]).astype(np.int32), color)
    return canvas


def write_tiny_views(folder: Path, size: int = SIZE) -> Path:
    """Write the box as a video in front of it and two views of other sides, in STAG4D's layout, of
    five moments; return the folder."""
    poses = {"": seen_from(0, 0), "0.png": seen_from(100, 30), "1.png": seen_from(220, -20)}
    for k in range(5):
        for name, pose in poses.items():
            file = folder / "zero123" / f"{k}_rgba" / name if name else folder / f"ref/{k}_rgba.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = draw(pose, k / 4, size - 8 * bool(name), math.radians(FOV_Y))
            cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))
    frames = []
    for name, pose in list(poses.items())[1:]:
        pose[:3, 3] /= 2  # the box is a unit wide, and as far from it as twice the reader's radius
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    content = {"frames": frames}
    (folder / "zero123" / "cameras.json").write_text(json.dumps(content))
    return folder


def seen_from(azimuth: float, elevation: float) -> np.ndarray:
    """Camera-to-world (4, 4), OpenGL axes, at RADIUS from the origin; y is up, degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = RADIUS * back
    return pose


def look_at_origin(azimuth: float, elevation: float) -> np.ndarray:
    """Camera-to-world (4, 4), OpenGL axes, at RADIUS from the origin."""
    back = np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = RADIUS * back
    return pose


def draw(pose: np.ndarray, when: float, size: int, angle: float = ANGLE) -> np.ndarray:
    """RGBA of the box's faces, far ones first."""
    canvas = np.zeros((size, size, 4), np.uint8)
    center = np.array([0.6 * when - 0.3, 0.0, 0.1])
    focal = size / (2 * math.tan(angle / 2))
    faces = []
    for axis in range(3):
        for side in (-1, 1):
            corners = np.array(
                [[side, a, b] for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))], float
            )
            world = center + 0.5 * np.roll(corners, axis, axis=1)
            local = (world - pose[:3, 3]) @ pose[:3, :3]
            pixels = size / 2 + focal * local[:, :2] * [1, -1] / -local[:, 2:]
            color = np.full(3, 60 + 60 * axis + 30 * (side > 0))
            color[axis] = 230
            faces.append((local[:, 2].mean(), pixels, (*color.tolist(), 255)))
    for _, pixels, color in sorted(faces, key=lambda face: face[0]):
        cv2.fillConvexPoly(canvas, np.round(pixels).astype(np.int32), color)
    return canvas
