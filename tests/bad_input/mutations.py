"""Files damaged at random, by bytes and by what they say."""

import json
import re

import numpy as np

VALUES = [
    None, True, -1, 0, 1e308, -1e-320, 10**18, "x", "", "$\\frac{", [], {}, [[]], [1, "a"],
    "../../x", "/", "\u0000", "y" * 5_000, {"a": {"b": []}}, [0] * 1_000, "NaN",
]  # fmt: skip
TEXTS = ["NaN", "Infinity", "9" * 400, "9" * 5_000, "[" * 50_000, '{"a":' * 50_000, '"\\ud800"', ""]
NUMBERS = [b"0", b"-1", b"9", b"99999999999", b"9" * 400, b"nan", b"1e999", b"x", b""]
WORDS = [b"list uchar float", b"double", b"uchar", b"quux", b"element vertex", b"property", b"\n"]


def mutated(data, rng):
    """`data` with one to four changes: of bytes, lengths, numbers, words, or what JSON holds."""
    for _ in range(rng.integers(1, 5)):
        change = CHANGES[rng.integers(len(CHANGES))]
        data = change(data, rng)[: 2**20]
    return data


def flip(data, rng):
    damaged = bytearray(data)
    for at in rng.integers(max(len(data), 1), size=rng.integers(1, 8)):
        damaged[at : at + 1] = bytes([rng.integers(256)])
    return bytes(damaged)


def cut(data, rng):
    return data[: rng.integers(len(data) + 1)]


def repeat(data, rng):
    start, end = sorted(rng.integers(len(data) + 1, size=2))
    return data[:end] + data[start:end] * int(rng.integers(1, 20)) + data[end:]


def head(data, rng):
    """Bytes of the first hundred, where sizes stand."""
    at = int(rng.integers(min(len(data), 100) + 1))
    size = int(rng.choice([1, 2, 4, 8]))
    content = rng.choice([0, 1, 127, 255], size=size).astype(np.uint8)
    return data[:at] + content.tobytes() + data[at + size :]


def number(data, rng):
    return _replaced(rb"-?\d[\d.e+-]*", data, rng, NUMBERS)


def word(data, rng):
    return _replaced(rb"[a-z]{3,}( [a-z]+)?", data, rng, WORDS)


def value(data, rng):
    """One value of a JSON file, at any depth; elsewhere some bytes."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return flip(data, rng)
    marker, text = "@@", TEXTS[rng.integers(len(TEXTS))]
    new = marker if rng.random() < 0.3 else VALUES[rng.integers(len(VALUES))]
    try:
        changed = json.dumps(_with(tree, new, rng))
    except (ValueError, RecursionError):
        return data
    return changed.replace(f'"{marker}"', text).encode()


def _with(tree, new, rng):
    keys = list(tree) if isinstance(tree, dict) else range(len(tree or ())) if isinstance(
        tree, list
    ) else ()  # fmt: skip
    if not len(keys) or rng.random() < 0.2:
        return new
    key = keys[rng.integers(len(keys))]
    tree[key] = _with(tree[key], new, rng)
    return tree


def _replaced(pattern, data, rng, choices):
    found = list(re.finditer(pattern, data[: 2**16]))
    if not found:
        return flip(data, rng)
    match = found[rng.integers(len(found))]
    return data[: match.start()] + choices[rng.integers(len(choices))] + data[match.end() :]


CHANGES = (flip, cut, repeat, head, number, word, value, value)
