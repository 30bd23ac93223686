"""A valid folder of a few small pictures for every family, in its real form on disk.

All show one rig: three cameras (`RIG`) that look at the origin from a distance of four, given as
numpy matrices that no code of the project made. Each writer brings them into its family's
convention.
"""

import json
import math
import shutil
import struct

import cv2
import numpy as np

from utils.video import VideoWriter

WIDTH, HEIGHT, FOCAL = 16, 12, 20.0
CX, CY = WIDTH / 2, HEIGHT / 2
GL = np.diag([1.0, -1.0, -1.0, 1.0])  # between OpenGL's and OpenCV's camera axes


def w2c_at(azimuth, elevation=0.2, distance=4.0):
    """World to camera (4, 4), OpenCV axes; the world's up axis is y. Angles in radians."""
    back = np.array(
        [
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        ]
    )
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, -up, -back])
    matrix[:3, 3] = -matrix[:3, :3] @ (distance * back)
    return matrix


RIG = [w2c_at(azimuth) for azimuth in (0.0, 0.3, 0.6)]
K = np.array([[FOCAL, 0, CX], [0, FOCAL, CY], [0, 0, 1]])


def project(w2c, xyz, focal=FOCAL, center=(CX, CY)):
    """Pixel (2,) of a world point, pixel centres at .5."""
    x, y, z = w2c[:3, :3] @ np.asarray(xyz, float) + w2c[:3, 3]
    return np.array([focal * x / z + center[0], focal * y / z + center[1]])


def write_picture(path, width=WIDTH, height=HEIGHT, channels=3, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, channels), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_ply(path, xyz):
    rows = "".join(f"{x} {y} {z} 200 100 50\n" for x, y, z in xyz)
    columns = "".join(f"property float {c}\n" for c in "xyz") + "".join(
        f"property uchar {c}\n" for c in ("red", "green", "blue")
    )
    path.write_text(
        f"ply\nformat ascii 1.0\nelement vertex {len(xyz)}\n{columns}end_header\n{rows}"
    )


POINTS = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 3)).round(3)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def dnerf(folder):
    for split in ("train", "test"):
        frames = []
        for k, w2c in enumerate(RIG):
            write_picture(folder / split / f"r_{k}.png", channels=4, seed=k)
            c2w = np.linalg.inv(w2c) @ GL
            frames.append(
                {"file_path": f"./{split}/r_{k}", "time": k / 2, "transform_matrix": c2w.tolist()}
            )
        angle = 2 * math.atan(WIDTH / (2 * FOCAL))
        write_json(folder / f"transforms_{split}.json", {"camera_angle_x": angle, "frames": frames})


def hypernerf(folder, *, scale=0.5, center=(0.1, 0.2, 0.3), radial=(0, 0, 0)):
    names = [f"{k:06d}" for k in range(3)]
    write_json(
        folder / "scene.json", {"scale": scale, "center": list(center), "near": 0.1, "far": 5.0}
    )
    write_json(
        folder / "dataset.json",
        {"count": 3, "ids": names, "train_ids": names[:2], "val_ids": names[2:]},
    )
    write_json(
        folder / "metadata.json",
        {name: {"warp_id": k, "camera_id": 0} for k, name in enumerate(names)},
    )
    for name, w2c in zip(names, RIG, strict=True):
        write_json(
            folder / "camera" / f"{name}.json",
            {
                "orientation": w2c[:3, :3].tolist(),
                "position": (-w2c[:3, :3].T @ w2c[:3, 3]).tolist(),
                "focal_length": 2 * FOCAL,
                "principal_point": [2 * CX, 2 * CY],
                "skew": 0.0,
                "pixel_aspect_ratio": 1.0,
                "radial_distortion": list(radial),
                "tangential_distortion": [0, 0],
                "image_size": [2 * WIDTH, 2 * HEIGHT],
            },
        )
        write_picture(folder / "rgb" / "1x" / f"{name}.png", 2 * WIDTH, 2 * HEIGHT)
        write_picture(folder / "rgb" / "2x" / f"{name}.png")
    np.save(folder / "points.npy", POINTS.astype(np.float32))


def dynerf(folder):
    rows = []
    for k, w2c in enumerate(RIG):
        c2w = np.linalg.inv(w2c)
        right, down, forward = c2w[:3, 0], c2w[:3, 1], c2w[:3, 2]
        pose = np.stack([down, right, -forward, c2w[:3, 3], [HEIGHT, WIDTH, FOCAL]], axis=1)
        rows.append([*pose.reshape(-1), 1.0, 8.0])
        for moment in range(2):
            write_picture(folder / f"cam{k:02d}" / "images" / f"{moment:04d}.png", seed=moment)
    np.save(folder / "poses_bounds.npy", np.array(rows))
    write_ply(folder / "points3D_downsample2.ply", POINTS)


def film(folder, fps=30):
    """Make the pictures of a folder of `dynerf` videos."""
    for k in range(len(RIG)):
        images = folder / f"cam{k:02d}" / "images"
        with VideoWriter(folder / f"cam{k:02d}.mp4", fps=fps) as video:
            for path in sorted(images.iterdir()):
                video.add(np.full((HEIGHT, WIDTH, 3), 40 + 60 * k + 30 * int(path.stem), np.uint8))
        shutil.rmtree(images.parent)


def ub4d(folder):
    matrices = {f"proj_mat_{k}": -2.5 * K @ w2c[:3] for k, w2c in enumerate(RIG)}
    for k in range(len(RIG)):
        write_picture(folder / "rgb" / f"{k:05d}.png", seed=k)
        write_picture(folder / "mask" / f"{k:05d}.png", channels=1, seed=k)
    np.savez(folder / "projection_matrix.npz", **matrices)


def rgba_video(folder):
    for k in (0, 2, 10):  # no zeros in front: 10 sorts before 2 as text
        write_picture(folder / "ref" / f"{k}_rgba.png", 16, 16, channels=4, seed=k)
        for view in range(6):
            write_picture(
                folder / "zero123" / f"{k}_rgba" / f"{view}.png", 8, 8, channels=4, seed=view
            )


def colmap(folder, *, text=False, model=1, values=(FOCAL, FOCAL, CX, CY)):
    names = [f"frame_{k}.png" for k in (9, 10, 11)]
    shots = [(quat_of(w2c[:3, :3]), w2c[:3, 3], name) for w2c, name in zip(RIG, names, strict=True)]
    for name in names:
        write_picture(folder / "images" / name)
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    (colmap_text if text else colmap_binary)(sparse, shots[::-1], model, values)


def colmap_binary(sparse, shots, model, values):
    data = struct.pack("<Q", 1) + struct.pack(
        f"<iiQQ{len(values)}d", 7, model, WIDTH, HEIGHT, *values
    )
    (sparse / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(shots))
    for k, (quat, t, name) in enumerate(shots, 1):
        data += struct.pack("<i7di", k, *quat, *t, 7) + name.encode() + b"\0"
        data += struct.pack("<Q", 2) + struct.pack("<ddq", 1.0, 2.0, -1) * 2
    (sparse / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(POINTS))
    for k, xyz in enumerate(POINTS):
        data += struct.pack("<Q3d3Bd", k, *xyz, 200, 100, 50, 0.5) + struct.pack("<Qii", 1, 1, 0)
    (sparse / "points3D.bin").write_bytes(data)


def colmap_text(sparse, shots, model, values):
    name = {0: "SIMPLE_PINHOLE", 1: "PINHOLE", 2: "SIMPLE_RADIAL", 3: "RADIAL", 4: "OPENCV"}[model]
    row = " ".join(map(str, values))
    (sparse / "cameras.txt").write_text(f"# Camera list\n7 {name} {WIDTH} {HEIGHT} {row}\n")
    lines = ["# Image list"]
    for k, (quat, t, image) in enumerate(shots, 1):
        lines += [" ".join(map(str, [k, *quat, *t, 7, image])), "" if k == 1 else "1.0 2.0 -1"]
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{k} {x} {y} {z} 200 100 50 0.5 1 0" for k, (x, y, z) in enumerate(POINTS)]
    (sparse / "points3D.txt").write_text("# 3D point list\n" + "\n".join(rows) + "\n")


def quat_of(rotation):
    """(w, x, y, z) of a rotation that turns by less than half a circle."""
    vector, _ = cv2.Rodrigues(rotation)
    angle = np.linalg.norm(vector)
    axis = vector[:, 0] / max(angle, 1e-12)
    return (math.cos(angle / 2), *(math.sin(angle / 2) * axis))


def write_colors(path, colors):
    """A picture of as many vertical stripes, RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.repeat(np.array(colors, np.uint8), WIDTH // len(colors), axis=0)
    assert cv2.imwrite(str(path), np.tile(row[None, :, ::-1], (HEIGHT, 1, 1)))


def coefficients(seed, count):
    return np.random.default_rng(seed).normal(size=count).round(4).tolist()


def nerfblendshape(folder):
    """Public numbering: pictures from 0, masks from 1; parsings as their pictures."""
    frames = []
    for k, w2c in enumerate(RIG):
        write_picture(folder / "ori_imgs" / f"{k}.jpg", seed=k)
        write_picture(folder / "mask" / f"{k + 1}.png", channels=1, seed=k)
        write_colors(
            folder / "parsing" / f"{k}.png",
            [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)],
        )
        c2w = np.linalg.inv(w2c) @ GL
        frames.append(
            {"img_id": k, "exp_ori": coefficients(k, 5), "transform_matrix": c2w.tolist()}
        )
    write_picture(folder / "bc.jpg", seed=9)
    lens = {"h": HEIGHT, "w": WIDTH, "fx": FOCAL, "fy": FOCAL, "cx": CX, "cy": CY}
    write_json(folder / "transforms.json", {**lens, "frames": frames})


MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def nerface(folder):
    """As the public files: focal length negative in x, the world a mirror image, centre in
    parts."""
    for split, rig in (("train", RIG), ("val", RIG[:1]), ("test", RIG[1:])):
        frames = []
        for k, w2c in enumerate(rig):
            write_picture(folder / split / f"f_{k:04d}.png", seed=k)
            c2w = MIRROR @ np.linalg.inv(w2c) @ GL @ MIRROR
            frames.append(
                {
                    "file_path": f"./{split}/f_{k:04d}",
                    "transform_matrix": c2w.tolist(),
                    "expression": coefficients(k, 5),
                    "bbox": [0.1, 0.9, 0.2, 0.8],
                }
            )
        angle = 2 * math.atan(WIDTH / (2 * FOCAL))
        write_json(
            folder / f"transforms_{split}.json",
            {"camera_angle_x": angle, "intrinsics": [-FOCAL, FOCAL, 0.5, 0.5], "frames": frames},
        )
    write_picture(folder / "bg" / "00050.png", seed=9)


def imavatar(folder):
    """The folder named twice, two videos; world to camera, all intrinsics in parts of the
    picture."""
    for name, rig in (("train", RIG), ("test", RIG[:2])):
        video, frames = folder / folder.name / name, []
        for k, w2c in enumerate(rig, 1):
            write_picture(video / "image" / f"{k}.png", seed=k)
            write_picture(video / "mask" / f"{k}.png", channels=1, seed=k)
            write_colors(
                video / "semantic" / f"{k}.png", [(0, 0, 0), (1, 1, 1), (14, 14, 14), (17, 17, 17)]
            )
            pose = np.zeros(15)
            pose[[1, 3, 6]] = 0.1, -0.2, 0.05 * k
            frames.append(
                {
                    "file_path": f"./image/{k}",
                    "world_mat": (GL @ w2c)[:3].tolist(),
                    "expression": coefficients(k, 6),
                    "pose": pose.tolist(),
                    "bbox": [-0.5, -0.5, 0.5, 0.5],
                    "flame_keypoints": np.zeros((70, 2)).tolist(),
                }
            )
        write_json(
            video / "flame_params.json",
            {
                "intrinsics": [-FOCAL / WIDTH, FOCAL / HEIGHT, 0.5, 0.5],
                "shape_params": coefficients(0, 8),
                "frames": frames,
            },
        )


def insta(folder):
    frames = []
    for k, w2c in enumerate(RIG):
        write_picture(folder / "images" / f"{k:05d}.png", channels=4, seed=k)
        exp = folder / "flame" / "exp" / f"{k:05d}.txt"
        exp.parent.mkdir(parents=True, exist_ok=True)
        exp.write_text("\n".join(map(str, coefficients(k, 5))))
        frames.append(
            {
                "file_path": f"images/{k:05d}.png",
                "exp_path": f"flame/exp/{k:05d}.txt",
                "transform_matrix": np.linalg.inv(w2c).tolist(),
            }
        )
    lens = {"w": WIDTH, "h": HEIGHT, "cx": CX, "cy": CY, "fl_x": FOCAL, "fl_y": FOCAL}
    write_json(folder / "transforms.json", {**lens, "frames": frames})


def gaussianavatars(folder):
    """Two cameras, of which val has one for itself; each file of FLAME's numbers is a moment."""
    (folder / "flame_param").mkdir(parents=True)
    for k in range(3):
        np.savez(folder / "flame_param" / f"{k:05d}.npz", **flame_numbers(k))
    shots = {"train": [(0, 0), (1, 0)], "val": [(0, 1), (1, 1)], "test": [(2, 0), (2, 1)]}
    for split, pairs in shots.items():
        frames = []
        for moment, camera in pairs:
            name = f"{moment:05d}_{camera:02d}.png"
            write_picture(folder / "images" / name, seed=moment)
            write_picture(folder / "fg_masks" / name, channels=1, seed=moment)
            c2w = np.linalg.inv(RIG[camera]) @ GL
            frames.append(
                {
                    "timestep_index": moment,
                    "camera_index": camera,
                    "file_path": f"images/{name}",
                    "fg_mask_path": f"fg_masks/{name}",
                    "flame_param_path": f"flame_param/{moment:05d}.npz",
                    "transform_matrix": c2w.tolist(),
                    "w": WIDTH,
                    "h": HEIGHT,
                    "cx": CX,
                    "cy": CY,
                    "fl_x": FOCAL,
                    "fl_y": FOCAL,
                }
            )
        write_json(folder / f"transforms_{split}.json", {"frames": frames})


def flame_numbers(seed):
    row = {
        "expr": 5,
        "rotation": 3,
        "neck_pose": 3,
        "jaw_pose": 3,
        "eyes_pose": 6,
        "translation": 3,
    }
    source = np.random.default_rng(seed)
    arrays = {
        name: 0.2 * source.normal(size=(1, count)).astype(np.float32) for name, count in row.items()
    }
    return {
        **arrays,
        "shape": np.full(8, 0.5, np.float32),
        "static_offset": np.zeros((1, 4, 3), np.float32),
    }


# The readers' names -> writers of a folder that they read.
TINY = {
    f.__name__: f
    for f in (
        dnerf,
        hypernerf,
        dynerf,
        ub4d,
        rgba_video,
        colmap,
        nerfblendshape,
        nerface,
        imavatar,
        insta,
        gaussianavatars,
    )
}
