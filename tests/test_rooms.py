"""The rooms of the house, as docs/rooms.md draws them: who may reach whom, held against the
imports.

To reach is to import, or to import what reaches. What stands under `if TYPE_CHECKING` is never
executed: it may close a circle, but it may not name what a room must not know.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.methods import METHODS, ROOT

ROOMS = (
    "arguments",
    "capture",
    "export",
    "gaussian_renderer",
    "scene",
    "scoring",
    "training",
    "utils",
    "viewer",
)
PACKAGES = sorted(
    path.parent.name
    for path in ROOT.glob("submodules/*/*/__init__.py")
    if "build" not in path.parts
)
COMMANDS = ("train", "render", "metrics", "view", "export_command")
# Rooms within a room, which have rules of their own.
INNER = ("scene.datasets", "scene.deformation", "scene.head", "scene.methods")
NEVERS = {
    "utils": (*(room for room in ROOMS if room != "utils"), *COMMANDS),
    "scene": (
        "training",
        "scoring",
        "gaussian_renderer",
        "export",
        "viewer",
        "scene.methods",
        *COMMANDS,
    ),
    "scene.datasets": ("scene.methods", "training", "scoring", "gaussian_renderer", "export"),
    "scene.deformation": ("scene.methods", "scene.datasets", "training", "export"),
    "scene.head": ("scene.methods", "scene.datasets", "training", "export"),
    "scene.methods": ("scene.datasets", "export", *COMMANDS),
    "gaussian_renderer": ("scene.methods", "scene.datasets", "training", "scoring", "export"),
    "training": ("scene.methods", "scene.datasets", "viewer", *COMMANDS),
    "scoring": ("scene.methods", "scene.datasets", "training", *COMMANDS),
    "export": ("scene.methods", "scene.datasets", "training", "viewer", *COMMANDS),
    "viewer": ("scene.methods", "scene.datasets", "training", "scoring", "export", *COMMANDS),
    "capture": (
        "scene.methods",
        "scene.datasets",
        "training",
        "gaussian_renderer",
        "scoring",
        "export",
        "viewer",
        *COMMANDS,
    ),
    "arguments": ("training", "gaussian_renderer", "scoring", "export", *COMMANDS),
}


@cache
def modules():
    """Every file of the rooms by its dotted name."""
    found = {name: ROOT / f"{name}.py" for name in COMMANDS}
    found["export_command"] = ROOT / "export.py"  # the room has the same name
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(name):
    """(executed, only for types): the project's own modules that a file names."""
    tree = ast.parse(modules()[name].read_text())
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    executed, typed = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            named = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            named -= {node.module} if any(n in modules() for n in named - {node.module}) else set()
        else:
            continue
        (typed if node in typing else executed).update(n for n in named if n in modules())
    return frozenset(executed - {name}), frozenset(typed - {name})


def room_of(name):
    return next((room for room in INNER if f"{name}.".startswith(f"{room}.")), name.split(".")[0])


def reached(name):
    """Every module that importing `name` executes, with the way to it."""
    ways, ahead = {name: (name,)}, [name]
    while ahead:
        here = ahead.pop()
        for other in imports(here)[0] - ways.keys():
            ways[other] = (*ways[here], other)
            ahead.append(other)
    return ways


@pytest.mark.parametrize("room", NEVERS)
def test_a_room_reaches_nothing_that_it_must_not_know(room):
    inside = [name for name in modules() if room_of(name) == room]
    assert inside
    for name in inside:
        for other, way in reached(name).items():
            # A method declares how it is trained; what a room reaches through methods is theirs.
            assert room_of(other) not in NEVERS[room], " -> ".join(way)


@pytest.mark.parametrize("room", [room for room in NEVERS if room not in ("training", "arguments")])
def test_a_room_does_not_even_name_what_it_must_not_know(room):
    for name in (name for name in modules() if room_of(name) == room):
        for other in imports(name)[1]:
            assert room_of(other) not in NEVERS[room], f"{name} names {other}"


def circle(edges):
    """A way that ends where it began, or None."""
    done = set()

    def search(node, way):
        if node in way:
            return [*way[way.index(node) :], node]
        if node not in done:
            for other in sorted(edges[node]):
                found = search(other, [*way, node])
                if found:
                    return found
            done.add(node)
        return None

    return next(filter(None, (search(node, []) for node in sorted(edges))), None)


def test_no_file_imports_itself_by_a_detour():
    assert circle({name: imports(name)[0] for name in modules()}) is None


def test_no_room_imports_itself_by_a_detour():
    rooms = {room_of(name): set() for name in modules()}
    for name in modules():
        rooms[room_of(name)] |= {room_of(other) for other in imports(name)[0]} - {room_of(name)}
    assert circle(rooms) is None


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_in_submodules_know_nothing_of_the_toolkit(package):
    (folder,) = (ROOT / "submodules").glob(f"*/{package}")
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                named = [node.module]
            else:
                continue
            assert not {name.split(".")[0] for name in named} & {*ROOMS, *COMMANDS}, file


def test_what_shows_and_exports_names_no_method():
    """All of them go the same way. `fourdgs` is also a package that writes files."""
    files = [ROOT / "view.py", ROOT / "export.py"]
    files += [f for room in ("viewer", "export") for f in (ROOT / room).rglob("*.*")]
    for file in (file for file in files if file.suffix in (".py", ".html")):
        for line in file.read_text().splitlines():
            if not line.strip().startswith("from fourdgs"):
                assert not set(METHODS) & set(re.findall(r"\w+", line)), f"{file}: {line}"


def test_every_folder_of_code_is_a_room_of_the_map():
    """A new folder gets a line in docs/rooms.md and its rules here."""
    there = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "scripts"}
    assert there == {room for room in ROOMS if (ROOT / room / "__init__.py").is_file()}
    assert all(f"`{room}/" in Path(ROOT / "docs/rooms.md").read_text() for room in ROOMS)
