#!/bin/sh
# Build a wheel of every package in submodules/, look inside, and use them, unchanged, in fresh
# environments: one for each argument, which is the list of its requirements.
#   scripts/check_wheels.sh                                       torch 2.13.0
#   scripts/check_wheels.sh "torch==2.13.0" "torch==2.4.1 numpy<2"
# PYTHON chooses the interpreter. For libraries that run where glibc is older than here:
#   CXX="python -m ziglang c++ -target x86_64-linux-gnu.2.17 -mcpu=baseline"
set -eu

PYTHON=${PYTHON:-python3}
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- "torch==2.13.0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy without what is ignored: an old build/ beside the sources would leak into the wheels.
mkdir "$work/source"
git ls-files -z -co --exclude-standard submodules |
    tar --null --ignore-failed-read -T - -cf - | tar -xf - -C "$work/source"
"$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --wheel-dir "$work/wheels" "$work"/source/submodules/*/

cat >"$work/contents.py" <<'PYTHON'
"""Each wheel holds what its package's folder holds, its licence and its libraries; nothing else."""
import sys
import zipfile
from pathlib import Path

sources, wheels = map(Path, sys.argv[1:])
for folder in sorted(sources.iterdir()):
    name = folder.name.replace("-", "_")
    (wheel,) = wheels.glob(f"{name}-*.whl")
    found = set(zipfile.ZipFile(wheel).namelist())
    info = {path for path in found if path.split("/")[0].endswith(".dist-info")}
    files = [path for path in (folder / name).rglob("*") if path.is_file()]
    expected = {str(path.relative_to(folder)) for path in files}
    expected |= {path.name for path in folder.glob("*.py") if path.name != "setup.py"}
    library = {path for path in found if path.endswith(".so")}
    missing = expected - found
    if bool(library) != (folder / "setup.py").exists():
        missing.add("a native library" if not library else "setup.py of its library")
    if not any(Path(path).name == "LICENSE" for path in info):
        missing.add("LICENSE")
    (metadata,) = (path for path in info if Path(path).name == "METADATA")
    if "License-Expression: Apache-2.0\n" not in zipfile.ZipFile(wheel).read(metadata).decode():
        missing.add("License-Expression")
    if missing or found - expected - library - info:
        sys.exit(f"{wheel.name}: missing {sorted(missing)}, "
                 f"superfluous {sorted(found - expected - library - info)}")
    print(f"{wheel.name}: {len(found)} files, {wheel.stat().st_size / 1e6:.2f} MB")
    for path in library:
        zipfile.ZipFile(wheel).extract(path, wheels)
PYTHON
"$PYTHON" "$work/contents.py" "$work/source/submodules" "$work/wheels"

if command -v objdump >/dev/null; then
    find "$work/wheels" -name '*.so' | while read -r library; do
        for prefix in GLIBC GLIBCXX; do
            newest=$(objdump -T "$library" | grep -o "${prefix}_[0-9.]*" | sort -uV | tail -n 1)
            echo "${library#"$work/wheels/"} needs ${newest:-no $prefix}"
        done
    done
fi

cat >"$work/picture.py" <<'PYTHON'
"""One small picture, its gradient and the other packages, in the environment at hand."""
import importlib
import math
import sys

import torch

for name in sys.argv[1:]:
    importlib.import_module(name)
import diff_gauss
import diff_gaussian_rasterization as dgr
import fused_fields
from simple_knn._C import distCUDA2

means = torch.tensor([[0.0, 0.0, 2.0], [0.3, 0.0, 3.0]], requires_grad=True)
K = torch.tensor([[32.0, 0, 16], [0, 32, 16], [0, 0, 1]])
shape = {"scales": torch.full((2, 3), 0.2), "opacities": torch.full((2, 1), 0.5)}
turns, colors = torch.eye(4)[:2], torch.ones(2, 3)
out = dgr.rasterize(
    means, turns, **shape, colors=colors, viewmat=torch.eye(4), K=K, width=32, height=32)
out.color.square().sum().backward()
assert 0.4 < out.alpha.max() < 0.99 and means.grad.abs().max() > 0

projection = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 1], [0, 0, -0.01, 0]])
settings = diff_gauss.GaussianRasterizationSettings(
    32, 32, 0.5, 0.5, torch.zeros(3), 1.0, torch.eye(4), projection, 0, torch.zeros(3), False)
images = diff_gauss.GaussianRasterizer(settings)(
    means, None, colors_precomp=colors, rotations=turns, **shape, extra_attrs=colors)
assert torch.equal(images[0], images[5]) and torch.allclose(images[0], out.color, atol=1e-6)
assert math.isclose(distCUDA2(means)[0].item(), 1.09, rel_tol=1e-5)
assert abs(fused_fields.ssim(out.color.detach(), out.color.detach()).item() - 1) < 1e-5
print(f"torch {torch.__version__}, python {sys.version.split()[0]}: kernels {dgr.variant()}, "
      f"fields {fused_fields.variant()}, picture and gradient are right")
PYTHON

packages=$(cd "$work/source/submodules" && for folder in *; do echo "$folder" | tr - _; done)
for requirements in "$@"; do
    "$PYTHON" -m venv "$work/env"
    # Word splitting is meant: each argument is a list.
    # shellcheck disable=SC2086
    (set -f; "$work/env/bin/pip" install --quiet --disable-pip-version-check \
        $requirements numpy scipy)
    "$work/env/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps \
        "$work"/wheels/*.whl
    # shellcheck disable=SC2086
    "$work/env/bin/python" -I "$work/picture.py" $packages
    rm -rf "$work/env"
done
