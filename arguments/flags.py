"""Every setting as a command-line flag, grouped by section."""

from __future__ import annotations

import argparse
import inspect
import json
import os
from typing import Any, get_args, get_origin

from arguments.schema import CHOICES, Layer, Schema, Spec
from arguments.values import from_text, nearest
from utils.errors import InputError

ALIASES = {"configs": ["--config"]}  # the README of 4DGS relies on the abbreviation


class _Parser(argparse.ArgumentParser):
    """argparse without abbreviations; its complaints are InputErrors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **options)

    def error(self, message: str) -> Any:
        raise InputError(f"command line: {message}; --help lists the settings")


def early_flags(argv: list[str]) -> dict[str, str]:
    """The flags that decide which settings exist."""
    parser = _Parser(add_help=False)
    parser.add_argument("--configs", *ALIASES["configs"])
    parser.add_argument("-s", "--source_path")
    parser.add_argument("-m", "--model_path")
    parser.add_argument("--dataset")
    parser.add_argument("--method")
    given = vars(parser.parse_known_args(argv)[0])
    return {name: os.path.expanduser(text) for name, text in given.items()}


def flag_layer(argv: list[str], schema: Schema, shown: dict[str, Any], command: str) -> Layer:
    """The settings given on the command line; prints help and exits when asked.

    `shown`: the values that hold without flags, for the help text. Raises InputError for an
    unknown flag and for a text that is not of its setting's type.
    """
    parser = _build(schema, shown, command)
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        names = [*schema.specs, *schema.elsewhere, *schema.without_effect, *CHOICES]
        known = [f"--{name}" for name in names]
        end = nearest(unknown[0].split("=")[0], known, "--help lists the settings")
        raise InputError(f"command line: unknown flag {unknown[0]!r}; {end}")
    sections: dict[str, dict[str, Any]] = {name: {} for name in schema.sections}
    specs = schema.specs | schema.elsewhere
    for name, text in vars(given).items():
        if name in specs:
            sections[specs[name].section][name] = _value(specs[name], text)
        elif name in schema.without_effect:
            sections["ModelParams"][name] = text
    return Layer(sections, lambda *key: "command line")


def _value(spec: Spec, text: str | list[str]) -> Any:
    try:
        return from_text(text, spec.kind, f"--{spec.name}")
    except ValueError as error:
        raise InputError(f"command line: {error}") from None


def _build(schema: Schema, shown: dict[str, Any], command: str) -> _Parser:
    parser = _Parser(
        prog=command,
        usage=f"{command} [flags]",
        description="Settings from the config file, over the defaults, and flags over both.",
        epilog="Booleans: --x, --no-x or --x false. Lists: --x 1 2. Dicts: --x '{\"key\": 1}'.",
    )
    short = {name: [flag] for name, flag in schema.short_flags.items()}
    names = {
        name: [*short.get(name, []), f"--{name}", *ALIASES.get(name, [])]
        for name in [*schema.specs, *schema.elsewhere, *schema.without_effect]
    }
    choices = parser.add_argument_group("scene and method")
    for name, default in CHOICES.items():
        choices.add_argument(
            f"--{name}", metavar="NAME", help=f"a file in scene/{name}s/ [{default}]"
        )
    for section, cls in reversed(schema.sections.items()):
        group = parser.add_argument_group(section, inspect.getdoc(cls))
        for spec in schema.specs.values():
            if spec.section == section:
                text = f"{spec.help} [{json.dumps(shown[spec.name])}]".replace("%", "%%")
                _add(group, spec, names[spec.name], text)
    for spec in schema.elsewhere.values():
        _add(parser, spec, names[spec.name], argparse.SUPPRESS)
    for name in schema.without_effect:
        parser.add_argument(*names[name], dest=name, nargs="*", help=argparse.SUPPRESS)
    return parser


def _add(group: Any, spec: Spec, names: list[str], text: str) -> None:
    options: dict[str, Any] = {"dest": spec.name, "metavar": _metavar(spec.kind), "help": text}
    if get_origin(spec.kind) is list:
        options["nargs"] = "*"
    if spec.kind is bool:
        options |= {"nargs": "?", "const": "true"}
    group.add_argument(*names, **options)
    # --no-no_dx would puzzle: a setting that is itself a negation is unset by `--no_dx false`.
    if spec.kind is bool and not spec.name.startswith("no_"):
        group.add_argument(
            f"--no-{spec.name}",
            f"--no_{spec.name}",
            dest=spec.name,
            action="store_const",
            const="false",
            help=argparse.SUPPRESS,
        )


def _metavar(kind: Any) -> str:
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    return {dict: "JSON"}.get(kind, kind.__name__.upper())
