"""Settings from config files and the command line: default < `_base_` < config file < flag."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from arguments.config_file import Config, read_config
from arguments.flags import early_flags, flag_layer
from arguments.schema import CHOICES, SECTIONS, choose, config_layer, schema_of
from arguments.settings import RenderParams, Settings
from utils.errors import InputError
from utils.files import inside, read_json, write_json

MAX_JSON = 2**22  # bytes of a stored config
Options = TypeVar("Options")

__all__ = [
    "differences",
    "load_settings",
    "parse_model_args",
    "parse_render_args",
    "parse_train_args",
    "read_config",
    "save_settings",
]


def parse_train_args(argv: list[str] | None = None) -> Settings:
    """The settings of train.py's command line (`sys.argv` by default).

    Raises InputError for bad flags and bad config files; `--help` prints and exits.
    """
    argv = sys.argv[1:] if argv is None else argv
    settings, _ = _parse(argv, "train.py", [])
    if not settings.model.source_path:
        raise InputError("no scene given: name its folder with -s PATH")
    saved = sorted({*settings.run.save_iterations, settings.optim.iterations})
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(settings.model, model_path=_output_folder(settings)),
        run=dataclasses.replace(settings.run, save_iterations=saved),
    )


def parse_render_args(argv: list[str] | None = None) -> tuple[Settings, RenderParams]:
    """The settings of a trained model, and what render.py shall draw of it; as
    `parse_model_args`."""
    settings, options = parse_model_args("render.py", RenderParams, argv)
    choose("dataset", {"dataset": options.drive_dataset}, "drive_dataset")
    return settings, options


def parse_model_args(
    command: str, section: type[Options], argv: list[str] | None = None
) -> tuple[Settings, Options]:
    """The settings of a trained model, and the command's own `section` of settings.

    The model folder's config.json comes first, then `--configs`, then flags. How the training
    run was run (RunParams) is not taken over. Raises InputError as `parse_train_args` does, and
    when the model folder has no config.json.
    """
    argv = sys.argv[1:] if argv is None else argv
    folder = early_flags(argv).get("model_path", "")
    stored = []
    if folder:
        file = Path(folder) / "config.json"
        if not file.is_file():
            raise InputError(f"{file}: no such file; expected the output folder of train.py")
        config = _read_stored(file)
        for name in ("RunParams", "RenderParams"):  # whoever renders says how
            config.values.pop(name, None)
        stored.append(config)
    name = section.__name__
    settings, values = _parse(argv, command, stored, **{name: section})
    if not folder:
        raise InputError("no model given: name its folder with --model_path PATH")
    return settings, values[name]


def _parse(
    argv: list[str], command: str, configs: list[Config], **extra: type
) -> tuple[Settings, dict[str, Any]]:
    """Settings from stored values, `--configs` and flags, and the command's `extra` sections."""
    early = early_flags(argv)
    layers = [config_layer(config, tuple(extra), stored=True) for config in configs]
    if early.get("configs"):
        configs = [*configs, read_config(early["configs"])]
        layers.append(config_layer(configs[-1], tuple(extra)))
    choices = _choices(configs, early)
    if choices["dataset"] == "auto":
        path = early.get("source_path") or _source_path(configs)
        choices["dataset"] = _family(path, import_module("scene.datasets.auto").announced)
    schema = schema_of(**choices, **extra)
    shown, _ = schema.resolve(layers)
    values, idle = schema.resolve([*layers, flag_layer(argv, schema, shown, command)])
    _report(idle)
    return schema.settings(choices, values), {n: schema.build(n, values) for n in extra}


def _choices(configs: list[Config], early: dict[str, str]) -> dict[str, str]:
    """The dataset and the method."""
    choices = dict(CHOICES)
    for name in choices:
        for config in configs:
            choices |= choose(name, config.values, config.origin(name))
        choices |= choose(name, early, "command line")
    return choices


def _source_path(configs: list[Config]) -> Any:
    sections = [section for config in configs for section in config.values.values()]
    found = [s["source_path"] for s in sections if isinstance(s, dict) and "source_path" in s]
    return found[-1] if found else ""


def _family(path: Any, recognise: Callable[[Path], Any]) -> str:
    """The family of a folder, or "auto" where there is none to see: reading it says why."""
    if not isinstance(path, str) or not path or not Path(path).is_dir():
        return "auto"
    with suppress(InputError):
        return recognise(Path(path)).name
    return "auto"


def _report(idle: list[tuple[str, str, str]]) -> None:
    """One line on stderr for each file that sets what has no effect."""
    files = defaultdict(list)
    for where, key, reason in idle:
        files[where].append(f"{key} ({reason})")
    for where, keys in files.items():
        print(f"{where}: without effect: {'; '.join(keys)}", file=sys.stderr)


def _output_folder(settings: Settings) -> str:
    # Named from the scene, not from the clock: the same command finds its unfinished run again.
    scene = Path(os.path.abspath(settings.model.source_path))
    name = settings.run.expname or os.path.join(scene.parent.name, scene.name)
    return settings.model.model_path or os.path.join("output", name)


def save_settings(settings: Settings, path: str | os.PathLike[str]) -> None:
    """Write every setting with its value as JSON, in the shape of a config file."""
    sections = {s: dataclasses.asdict(getattr(settings, name)) for name, s in SECTIONS.items()}
    write_json(Path(path), {name: getattr(settings, name) for name in CHOICES} | sections)


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Read what `save_settings` wrote; a setting that is missing there has its default.

    Raises InputError for a file that is missing, cut, or holds an unknown or mistyped setting.
    """
    config = _read_stored(Path(path))
    choices = _choices([config], {})
    if choices["dataset"] == "auto":  # older runs did not say what they had recognised
        path = _source_path([config])
        choices["dataset"] = _family(path, import_module("scene.datasets.auto").recognised)
    schema = schema_of(**choices)
    values, _ = schema.resolve([config_layer(config, stored=True)])
    return schema.settings(choices, values)


def _read_stored(path: Path) -> Config:
    values = read_json(inside(path.parent, path), MAX_JSON)
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds no settings; name a folder that train.py wrote")
    return Config(str(path), values, {})


def differences(a: Settings, b: Settings) -> list[str]:
    """Names of the settings that differ and change the result, e.g. `iterations` but not `port`."""
    names = [name for name in CHOICES if getattr(a, name) != getattr(b, name)]
    for section in SECTIONS:
        one, other = getattr(a, section), getattr(b, section)
        if type(one) is not type(other):
            continue  # those of two families or methods have nothing to compare
        for f in dataclasses.fields(one):
            same = os.path.abspath if f.metadata["is_path"] else lambda value: value
            if f.metadata["changes_result"] and same(getattr(one, f.name)) != same(
                getattr(other, f.name)
            ):
                names.append(f.name)
    return names
