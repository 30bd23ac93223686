#!/bin/sh
# Everything that needs an NVIDIA GPU, in one command and under 10 minutes:
#     sh scripts/gpu_check.sh [--data D_NERF_SCENE] [--out output/gpu_check] [--only PART ...]
# Wants python3 with a CUDA build of torch; neither a network nor a CUDA toolkit. What else is missing is
# installed from the wheels in ./wheels or $GPU_WHEELS; without them it says how to fetch them.
# PYTHON chooses the interpreter. Parts and exit codes: scripts/gpu_check.py.
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
VENV=output/gpu_check_venv

command -v "$PYTHON" >/dev/null 2>&1 || {
    echo "gpu_check: $PYTHON is not installed; name another with PYTHON=/path/to/python3" >&2
    exit 1
}
"$PYTHON" -c 'import torch' 2>/dev/null || {
    echo "gpu_check: $PYTHON has no torch; install a CUDA build of torch 2.4 or newer, or name another interpreter with PYTHON=" >&2
    exit 1
}
mkdir -p output
"$PYTHON" -m venv --system-site-packages --without-pip "$VENV"
# An interpreter that is itself a virtual environment lends its packages too.
"$PYTHON" - "$VENV" <<'END'
import sys, sysconfig
from pathlib import Path

(inner,) = Path(sys.argv[1]).glob("lib/python*/site-packages")
(inner / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
END
exec "$VENV/bin/python" scripts/gpu_check.py "$@"
