"""Ways to break what a user hands to the commands, and what all tests of bad input share."""

import json

SHORT = ["--checkpoint_every", "3", "--init_points", "50", "--quiet"]


def files(folder):
    """Content of every file under a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def model_file(model):
    return model / "point_cloud/iteration_8/model.safetensors"


def cut(file, keep=0.5):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])


def edit(file, change):
    """Let `change` work on what is in a JSON file."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
