#!/bin/sh
# The kernels under sanitizers: every variant that this processor runs under AddressSanitizer and
# UndefinedBehaviorSanitizer, used by the tests of submodules/; all kernels' threads under
# ThreadSanitizer, used by tests/submodules/native_kernels/threads.cpp. Under 15 minutes on two cores.
#   scripts/check_sanitizers.sh [portable avx2 avx512 threads]
# PYTHON chooses the interpreter, CXX the compiler (GCC). Exit code 0: nothing was found.
set -u

fail() {
    echo "check_sanitizers: $1" >&2
    exit 2
}

cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-.venv/bin/python} CXX=${CXX:-g++}
command -v "$PYTHON" >/dev/null || fail "there is no $PYTHON; run make test, or name one by PYTHON="
[ $# -gt 0 ] || set -- portable avx2 avx512 threads
runtime=$($CXX -print-file-name=libasan.so 2>/dev/null)
[ -f "$runtime" ] || fail "$CXX has no AddressSanitizer; install GCC's, or name a GCC by CXX="
libstdcxx=$($CXX -print-file-name=libstdc++.so.6)  # so that AddressSanitizer finds its throw
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# Packages as they are installed, with libraries of one variant, apart from the installed ones.
cp -r submodules/native-kernels/native_kernels submodules/fused-fields/fused_fields \
    submodules/diff-gaussian-rasterization/diff_gaussian_rasterization \
    submodules/diff-gaussian-rasterization/diff_gauss.py "$work"
cat >"$work/build.py" <<'PYTHON'
"""build.py COMPILER VARIANT: that library of both packages here, and the portable one to ask the
processor."""
import shlex
import sys
from pathlib import Path

from native_kernels import compiler as build
from native_kernels.compiler import compile_libraries

build.COMMON = ["-O1" if flag == "-O3" else flag for flag in build.COMMON]  # minutes less
compiler, variant = shlex.split(sys.argv[1]), sys.argv[2]
for name in ("diff_gaussian_rasterization", "fused_fields"):
    folder = Path(__file__).parent / name
    names = [each for each in dict.fromkeys(("portable", variant))
             if not (folder / f"_{each}.so").exists()]
    if names:
        compile_libraries(compiler, folder / "csrc", {n: folder / f"_{n}.so" for n in names})
PYTHON

row() { # name, what ran, state, seconds
    printf '%-10s %-36s %-9s %4s s  %s\n' "$1" "$2" "$3" "$4" "$5"
}

# A finding ends the process; what it was is in the report.
address="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -g1"
use_variant() {
    PYTHONPATH="$work" nice "$PYTHON" "$work/build.py" "$CXX $address" "$1" >"$work/log" 2>&1 &&
        PYTHONPATH="$work" LD_PRELOAD="$runtime $libstdcxx" CXX="$CXX $address" \
        ASAN_OPTIONS="detect_leaks=0:log_path=$work/report" \
        UBSAN_OPTIONS="print_stacktrace=1:log_path=$work/report" \
        DIFF_GAUSSIAN_RASTERIZATION_VARIANT=$1 FUSED_FIELDS_VARIANT=$1 \
        OMP_NUM_THREADS=2 nice "$PYTHON" -m pytest -q -p no:cacheprovider -p no:xdist \
        --timeout 600 -k "not cuda and not gpu and not GPU and not emulat and not _build and \
not environment_variable and not hundred_million" \
        tests/submodules/diff_gaussian_rasterization tests/submodules/fused_fields \
        tests/submodules/native_kernels >"$work/log" 2>&1
    finish $? "$1" "tests under address and undefined"
}

use_threads() {
    raster=$work/diff_gaussian_rasterization/csrc fields=$work/fused_fields/csrc
    flags="-std=gnu++17 -O2 -g1 -Wno-psabi -fsanitize=thread -pthread -I$work/native_kernels/csrc"
    (
        cd "$work" || exit 2
        # shellcheck disable=SC2086
        set -e
        nice $CXX $flags -c "$raster/rasterizer.cpp" -o r1.o
        nice $CXX $flags -c "$raster/kernels.cpp" -o r2.o
        nice $CXX $flags -c "$fields/parallel.cpp" -o f1.o
        nice $CXX $flags -c "$fields/kernels.cpp" -o f2.o
        nice $CXX $flags "-I$raster" "-I$fields" \
            "$OLDPWD/tests/submodules/native_kernels/threads.cpp" r1.o r2.o f1.o f2.o -o threads
        TSAN_OPTIONS=halt_on_error=1 nice ./threads
    ) >"$work/log" 2>&1
    finish $? threads "all kernels under thread"
}

finish() { # exit code, name, what ran
    seconds=$(($(date +%s) - begin))
    said=$(grep -v '^ *$' "$work/log" | tail -n 1)
    case $1 in
    0) row "$2" "$3" passed $seconds "$said" ;;
    *)
        failed=1
        row "$2" "$3" FAILED $seconds "$said"
        head -n 40 "$work"/report.* 2>/dev/null || tail -n 30 "$work/log"
        rm -f "$work"/report.*
        ;;
    esac
}

runs_here() { # variant: whether the processor has its instructions
    case $1 in
    portable) ;;
    avx2) grep -qw avx2 /proc/cpuinfo ;;
    avx512) grep -qw avx512bw /proc/cpuinfo ;;
    *) echo "no variant $1; expected portable, avx2, avx512 or threads" >&2; exit 2 ;;
    esac
}

for name; do
    begin=$(date +%s)
    if [ "$name" = threads ]; then
        use_threads
    elif runs_here "$name"; then
        use_variant "$name"
    else
        row "$name" "tests under address and undefined" skipped 0 "this processor does not run it"
    fi
done
exit $failed
