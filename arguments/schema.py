"""Which settings a family and a method have, and how layers of values become typed sections."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from arguments.config_file import Config
from arguments.settings import ModelParams, PipelineParams, RunParams, Settings, Valid, between
from arguments.values import convert, convert_dict, nearest
from utils.errors import InputError, shown

ROOT = Path(__file__).resolve().parent.parent
RATE = between(0, 10)  # of learning; the largest in use is 0.05
CHOICES = {"dataset": "auto", "method": "fourdgs"}  # 4DGS's own config files name neither


@dataclass(frozen=True)
class Spec:
    """One setting: where it lives and what may stand there."""

    name: str
    section: str
    kind: Any  # bool, int, float, str, dict or list[one of the first four]
    default: Any
    help: str
    valid: Valid | None
    filled: bool  # a list that may not be empty
    is_path: bool

    def check(self, value: Any, current: Any) -> Any:
        """`value` converted; a dict goes over `current`. Raises ValueError saying what is wrong."""
        if self.kind is dict:
            value = convert_dict(value, current, self.name)
        else:
            value = convert(value, self.kind, self.name)
        if self.filled and not value:
            raise ValueError(f"{self.name} is empty, expected at least one value")
        is_valid, words = self.valid or (lambda item: True, "")
        for item in _leaves(value):
            if not is_valid(item):
                raise ValueError(f"{self.name} is {item!r}, expected {words}")
        return os.path.expanduser(value) if self.is_path else value


@dataclass(frozen=True)
class Layer:
    """Values from one source. `where(section, key)` names the file or flag that set one.

    `ignored(value, default)`: whether a setting that only other families have may be passed over.
    """

    sections: dict[str, dict[str, Any]]
    where: Callable[..., str]
    ignored: Callable[[Any, Any], bool] = lambda value, default: False


@dataclass(frozen=True)
class Schema:
    """All settings of one command with one family and one method, by name."""

    dataset: str
    sections: dict[str, type]  # in the order they are applied: the later one wins
    specs: dict[str, Spec]
    elsewhere: dict[str, Spec]  # what only other families have
    without_effect: dict[str, str]  # name -> why it changes nothing
    short_flags: dict[str, str]  # name -> its flag of one letter

    def resolve(self, layers: list[Layer]) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
        """Defaults under the layers, the last one on top.

        Returns the values by name, and (where, key, reason) of each value without effect.
        Raises InputError for an unknown name, one that only other families have, a wrong type and
        a value out of range.
        """
        values = {spec.name: spec.default for spec in self.specs.values()}
        idle = []
        for layer in layers:
            for section in self.sections:
                for key, value in layer.sections.get(section, {}).items():
                    where = layer.where(section, key)
                    if key in self.without_effect:
                        idle.append((where, key, self.without_effect[key]))
                        continue
                    if key in self.elsewhere:
                        if not layer.ignored(value, self.elsewhere[key].default):
                            raise self._useless(key, where)
                        continue
                    values[key] = self._value(section, key, value, values, where)
        return values, idle

    def _useless(self, key: str, where: str) -> InputError:
        readers = import_module("scene.datasets.auto").families()
        having = [n for n, r in readers.items() if key in r.DataParams.__dataclass_fields__]
        return InputError(
            f"{where}: {key} has no use for {self.dataset}; families that have it: "
            f"{', '.join(having)}"
        )

    def _value(self, section: str, key: Any, value: Any, values: dict[str, Any], where: str) -> Any:
        # A key under the wrong section still counts: HyperNeRF's 4DGS files rely on it.
        if key not in self.specs:
            names = [*self.specs, *self.elsewhere, *self.without_effect]
            end = nearest(str(key), names, "--help lists the settings")
            raise InputError(f"{where}: {section} has no setting {shown(key)}; {end}")
        try:
            return self.specs[key].check(value, values[key])
        except ValueError as error:
            raise InputError(f"{where}: {section}: {error}") from None

    def build(self, section: str, values: dict[str, Any]) -> Any:
        """The section's dataclass, filled."""
        names = [spec.name for spec in self.specs.values() if spec.section == section]
        return self.sections[section](**{name: values[name] for name in names})

    def settings(self, choices: dict[str, str], values: dict[str, Any]) -> Settings:
        """All sections, filled."""
        return Settings(
            **choices, **{name: self.build(SECTIONS[name], values) for name in SECTIONS}
        )


SECTIONS = {  # field of Settings -> section; the order is the one 4DGS applies
    "optim": "OptimizationParams",
    "hidden": "ModelHiddenParams",
    "data": "DataParams",
    "model": "ModelParams",
    "pipeline": "PipelineParams",
    "run": "RunParams",
}


def schema_of(method: str, dataset: str = "auto", **extra: type) -> Schema:
    """The settings of a method in `scene/methods/` with a reader in `scene/datasets/`.

    With "auto" these are the settings of every reader. `extra`: the command's own sections.
    """
    module = import_module(f"scene.methods.{method}")
    params_of = import_module("scene.datasets.auto").params_of
    every = params_of("auto")
    sections = {
        "OptimizationParams": module.OptimizationParams,
        "ModelHiddenParams": module.ModelHiddenParams,
        "DataParams": params_of(dataset),
        "ModelParams": ModelParams,
        "PipelineParams": PipelineParams,
        "RunParams": RunParams,
        **extra,
    }
    specs = [spec for name, section in sections.items() for spec in _specs(name, section)]
    by_name = {spec.name: spec for spec in specs}
    assert len(by_name) == len(specs), "a setting's name is used in two sections"
    elsewhere = {spec.name: spec for spec in _specs("DataParams", every)}
    elsewhere = {name: spec for name, spec in elsewhere.items() if name not in by_name}
    idle, short = {}, {}
    for section in [*sections.values(), every]:
        idle |= getattr(section, "without_effect", {})
        short |= getattr(section, "short_flags", {})
    return Schema(dataset, sections, by_name, elsewhere, idle, short)


def _specs(name: str, section: type) -> list[Spec]:
    kinds, empty = get_type_hints(section), section()
    return [
        Spec(
            f.name,
            name,
            kinds[f.name],
            getattr(empty, f.name),
            f.metadata["help"],
            f.metadata["valid"] or (RATE if kinds[f.name] is float and "_lr" in f.name else None),
            get_origin(kinds[f.name]) is list
            and bool(getattr(empty, f.name))
            and f.metadata["changes_result"],
            f.metadata["is_path"],
        )
        for f in dataclasses.fields(section)
    ]


def _leaves(value: Any) -> list[Any]:
    """The numbers in a list or a dict, or the one value."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [leaf for part in parts for leaf in _leaves(part)]
    return [value]


def config_layer(config: Config, extra: tuple[str, ...] = (), *, stored: bool = False) -> Layer:
    """The sections of a config file. Raises InputError for a name that is no section.

    `stored`: a run's own config.json, which once held the settings of all families.
    """
    known = [*SECTIONS.values(), *extra]
    for name, value in config.values.items():
        where = config.origin(name)
        if name not in known and name not in CHOICES:
            names = [*known, *CHOICES, *([] if stored else ["_base_"])]
            end = nearest(name, names, f"sections are {', '.join(known)}")
            raise InputError(f"{where}: a config file has no section {shown(name)}; {end}")
        if name in known and not isinstance(value, dict):
            raise InputError(f"{where}: {name} is {shown(value)}, expected a dict of settings")
    sections = {name: config.values[name] for name in known if name in config.values}
    # A file may say what holds anyway: those of 4DGS list every setting.
    ignored = (lambda value, default: True) if stored else operator.eq
    return Layer(sections, lambda section, key: config.origin(section, key), ignored)


def choose(name: str, values: dict[str, Any], where: str) -> dict[str, str]:
    """The dataset or method that `values` names, if any, after looking that its file exists."""
    if name not in values:
        return {}
    package = import_module(f"scene.{name}s")
    files = sorted(file.stem for at in package.__path__ for file in Path(at).glob("[!_]*.py"))
    if values[name] not in files:
        raise InputError(
            f"{where}: unknown {name} {shown(values[name])}; scene/{name}s has {', '.join(files)}"
        )
    return {name: values[name]}
