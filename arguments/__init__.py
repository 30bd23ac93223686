"""Settings from config files and the command line: default < `_base_` < config file < flag."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from arguments.config_file import Config, read_config
from arguments.flags import early_flags, flag_layer
from arguments.schema import CHOICES, SECTIONS, Schema, choose, config_layer, schema_of
from arguments.settings import RenderParams, Settings
from utils.errors import InputError
from utils.files import read_json, write_json

__all__ = [
    "differences",
    "load_settings",
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
    """The settings of a trained model, and what render.py shall draw of it.

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
        config.values.pop("RunParams", None)
        stored.append(config)
    settings, values = _parse(argv, "render.py", stored, RenderParams=RenderParams)
    if not folder:
        raise InputError("no model given: name its folder with --model_path PATH")
    return settings, values["RenderParams"]


def _parse(
    argv: list[str], command: str, configs: list[Config], **extra: type
) -> tuple[Settings, dict[str, Any]]:
    """Settings from stored values, `--configs` and flags, and the command's `extra` sections."""
    early = early_flags(argv)
    if early.get("configs"):
        configs = [*configs, read_config(early["configs"])]
    choices = dict(CHOICES)
    for name in choices:
        for config in configs:
            choices |= choose(name, config.values, config.origin(name))
        choices |= choose(name, early, "command line")
    schema = schema_of(choices["method"], **extra)
    layers = [config_layer(config, tuple(extra)) for config in configs]
    shown, _ = schema.resolve(layers)
    values, idle = schema.resolve([*layers, flag_layer(argv, schema, shown, command)])
    _report(idle)
    return schema.settings(choices, values), {n: schema.build(n, values) for n in extra}


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
    choices = dict(CHOICES)
    for name in choices:
        choices |= choose(name, config.values, str(path))
    schema: Schema = schema_of(choices["method"])
    values, _ = schema.resolve([config_layer(config)])
    return schema.settings(choices, values)


def _read_stored(path: Path) -> Config:
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds no settings; name a folder that train.py wrote")
    return Config(str(path), values, {})


def differences(a: Settings, b: Settings) -> list[str]:
    """Names of the settings that differ and change the result, e.g. `iterations` but not `port`."""
    names = [name for name in CHOICES if getattr(a, name) != getattr(b, name)]
    if "method" in names:
        return names  # the methods' own sections have nothing to compare
    for section in SECTIONS:
        one, other = getattr(a, section), getattr(b, section)
        for f in dataclasses.fields(one):
            same = os.path.abspath if f.metadata["is_path"] else lambda value: value
            if f.metadata["changes_result"] and same(getattr(one, f.name)) != same(
                getattr(other, f.name)
            ):
                names.append(f.name)
    return names
