#!/bin/sh
# Say in one sentence what is missing before anything is installed. Reads PYTHON and VENV.
set -u

fail() {
    echo "setup: $1" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "$PYTHON is not installed; run 'sudo apt install python3 python3-venv' or pass PYTHON=/path/to/python3."

version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case "$version" in
3.10 | 3.11 | 3.12 | 3.13) ;;
*) fail "$PYTHON is Python $version, but 3.10 to 3.13 is needed; pass PYTHON=python3.12 or another of these." ;;
esac

"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "Python's venv module is missing; run 'sudo apt install python$version-venv'."

command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
    "$PYTHON" -c 'import ziglang' 2>/dev/null ||
    fail "there is no C++ compiler; run 'sudo apt install g++'."

folder=$(dirname "$VENV")
[ -w "$folder" ] || fail "the folder $folder is not writable, so $VENV cannot be made there."

free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free" -gt 3000 ] || fail "only $free MiB are free in $folder; the environment needs about 3000."
