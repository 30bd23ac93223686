"""What a library is made of, as its build and its loading both see it."""

from __future__ import annotations

import hashlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = HERE / "csrc"  # headers that every package's csrc may include, and library.cpp
# What the compiler may use, worst first: native_level() of csrc/library.cpp counts in this order.
VARIANTS = {
    "portable": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        *("-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"),
        "-mprefer-vector-width=512",
    ],
}


def source_hash(csrc: Path) -> str:
    """SHA-256 of all that libraries are built from: `csrc`, the shared headers, the flags."""
    digest = hashlib.sha256()
    flags = (HERE / "compiler.py", HERE / "sources.py")
    for path in (*sorted(csrc.glob("*.[ch]*")), *sorted(SHARED.glob("*.[ch]*")), *flags):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
