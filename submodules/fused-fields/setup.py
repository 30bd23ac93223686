"""Builds the kernels; `native_kernels` lies beside this folder, or else is installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "native-kernels"))

from native_kernels.build import setup_kernels

setup_kernels("fused_fields")
