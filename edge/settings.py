"""Reads a program's settings: TOML file, then environment, then flags, each winning over the one before.

Does: adds the flags to a command's parser, merges the three, prints them as TOML, tells any mistake in one line that
names the key, its value, what is allowed and where it was set, and runs a program that has one settings class. Does
not: say what can be set; that is each program's settings class, such as `edge.config.Settings`.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import tomli_w
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from edge.errors import ConfigError, exit_status


class ProgramSettings(BaseSettings):
    """Base of every program's settings class, which adds its `env_prefix`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        env_nested_delimiter="__",
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what is passed in, which is the file; flags win over both."""
        return env_settings, init_settings


S = TypeVar("S", bound=ProgramSettings)


class Parser(argparse.ArgumentParser):
    """A parser that tells a mistake in one line, without the whole usage, and takes no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        """Take the options of `argparse.ArgumentParser`."""
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving.

        Raises:
            ConfigError: always.
        """
        begin = "unrecognized arguments: "
        flags = [word.partition("=")[0] for word in message.removeprefix(begin).split() if word.startswith("-")]
        if message.startswith(begin) and flags:
            message = begin + " ".join(flags)  # without their values, among which may be a secret
        raise ConfigError(f"{message}; see {self.prog} --help")


class SettingsReader(Generic[S]):
    """Adds the flags of a settings class to a parser and makes settings of what was parsed."""

    def __init__(self, parser: argparse.ArgumentParser, settings_class: type[S]) -> None:
        """Add one flag for every setting, --config and --print-config to `parser`."""
        parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
        parser.add_argument("--print-config", action="store_true", help="print the settings as TOML and leave")
        self._program = parser.prog
        self._class = settings_class
        self._prefix = settings_class.model_config.get("env_prefix", "")
        self._flags: CliSettingsSource[argparse.ArgumentParser] = CliSettingsSource(settings_class, root_parser=parser)

    def read(self, arguments: argparse.Namespace) -> S:
        """The merged and checked settings.

        Raises:
            ConfigError: the file cannot be read, a key is unknown, or a value is out of range.
        """
        file: Path | None = arguments.config
        in_file = self._read_toml(file) if file else {}
        self._refuse_unknown_environment()
        in_flags: Mapping[str, Any] = {}
        try:
            source = self._flags(parsed_args=arguments)
            in_flags = source()
            self._refuse_open_secrets(file, in_file, in_flags)
            merged: dict[str, Any] = {**in_file, "_cli_settings_source": source}
            return self._class(**merged)
        except ValidationError as error:
            raise ConfigError(self._one_line(error, file, in_file, in_flags)) from error
        except SettingsError as error:
            detail = str(error).splitlines()[0]
            raise ConfigError(
                f"{detail}; write thresholds as label=score, and a list in the environment as JSON"
            ) from error

    def _read_toml(self, path: Path) -> dict[str, Any]:
        try:
            if path.is_file():
                return TomlConfigSettingsSource(self._class, toml_file=path)()
        except ValueError as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        raise ConfigError(f"{path}: no such file; --config takes a TOML file, as --print-config prints one")

    def _refuse_unknown_environment(self) -> None:
        for variable in os.environ:
            if not variable.startswith(self._prefix.rstrip("_")):
                continue
            key = variable.removeprefix(self._prefix) if variable.startswith(self._prefix) else ""
            section, delimiter, _ = key.lower().partition("__")
            field = self._class.model_fields.get(section)
            if field is None or (_is_section(field) and not delimiter):
                raise ConfigError(f"{variable} in the environment names no setting; write {self._example()}")

    def _refuse_open_secrets(self, file: Path | None, in_file: Mapping[str, Any], in_flags: Mapping[str, Any]) -> None:
        for section, field in self._class.model_fields.items():
            keys = field.annotation.model_fields if _is_section(field) else {}  # type: ignore[union-attr]
            for key, inner in keys.items():
                location = (section, key)
                if inner.annotation is SecretStr and (_holds(in_file, location) or _holds(in_flags, location)):
                    where = self._where(location, file, in_file, in_flags)
                    variable = self._prefix + "__".join(location).upper()
                    raise ConfigError(
                        f"{where}: {section}.{key} is a secret and others can read it there; set {variable} in the "
                        f"environment, or name a file as {section}.{key}_file"
                    )

    def _example(self) -> str:
        """A variable as it is to be written, and the setting that it means."""
        for section, field in self._class.model_fields.items():
            if _is_section(field):
                key = next(iter(field.annotation.model_fields))  # type: ignore[union-attr]
                return f"{self._prefix}{section.upper()}__{key.upper()} for {section}.{key}"
        key = next(iter(self._class.model_fields))
        return f"{self._prefix}{key.upper()} for {key}"

    def _one_line(
        self, error: ValidationError, file: Path | None, in_file: Mapping[str, Any], in_flags: Mapping[str, Any]
    ) -> str:
        mistakes = error.errors(include_url=False)
        first = mistakes[0]
        if not first["loc"]:  # settings that are right each by itself
            return f"{file or 'settings'}: give {first['msg'].removeprefix('Value error, ')}"
        # A union adds its member's name to the location; the key ends before it. A list of tables adds a number.
        parts = first["loc"]
        depth = 1 if len(parts) == 1 else 2 if not isinstance(parts[1], int) else 3 if len(parts) > 2 else 1
        location = tuple(str(part) for part in parts[:depth])
        key = ".".join(location)
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        if first["type"] == "missing" and depth == 3:
            return f"{file or 'settings'}: {key} is not set; give each [[{location[0]}]] its {location[2]}{more}"
        if first["type"] == "missing":
            return f"{key} is not set; give --{key} or name it in the --config file{more}"
        where = self._where(location, file, in_file, in_flags)
        if first["type"] == "extra_forbidden":
            return f"{where}: unknown key {key}{self._suggestion(location)}{more}"
        return f"{where}: {key} = {first['input']!r}: must be {self._allowed(location, first['msg'])}{more}"

    def _where(
        self,
        location: tuple[str, ...],
        file: Path | None,
        in_file: Mapping[str, Any],
        in_flags: Mapping[str, Any],
    ) -> str:
        if _holds(in_flags, location):
            return "command line"
        variable = self._prefix + "__".join(location).upper()
        if variable in os.environ:
            return variable
        return (
            str(file)
            if file and (_holds(in_file, location) or isinstance(in_file.get(location[0]), list))
            else "settings"
        )

    def _suggestion(self, location: tuple[str, ...]) -> str:
        known = list(self._class.model_fields)
        if len(location) == 3:
            known = list(_nodes(self._class.model_json_schema(), location[:2])["properties"])
            close = difflib.get_close_matches(location[2], known, n=1)
            return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
        if len(location) > 1:
            known = [
                f"{section}.{key}"
                for section, field in self._class.model_fields.items()
                if _is_section(field)
                for key in field.annotation.model_fields  # type: ignore[union-attr]
            ]
        close = difflib.get_close_matches(".".join(location), known, n=1)
        return f"; did you mean {close[0]}?" if close else f"; see {self._program} --help"

    def _allowed(self, location: tuple[str, ...], message: str) -> str:
        """What a key accepts: both ends of its range, the list of its values, or pydantic's own words."""
        node = _nodes(self._class.model_json_schema(), location)
        if "properties" in node:
            return f"a table, [{location[-1]}], with its settings below it"
        node = node.get("anyOf", [node])[0]
        if "minimum" in node and "maximum" in node:
            whole = "a whole number " if node["type"] == "integer" else ""
            return f"{whole}from {node['minimum']} to {node['maximum']}"
        if "enum" in node:
            return "one of " + ", ".join(filter(None, node["enum"]))
        if "pattern" in node:
            return "at most 64 letters, digits, dots, dashes or underscores"
        return "given" if "minLength" in node else message.removeprefix("Input should be ")


def to_toml(settings: ProgramSettings) -> str:
    """The settings as TOML that `--config` reads back to the same settings; what has no value is left out."""
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))


def run_program(settings_class: type[S], run: Callable[[S], int], *, prog: str, description: str) -> int:
    """Read a program's settings from its command line, run it, and return its exit status.

    As `edge.errors.exit_status` says: a mistake of the user gives one line on standard error and status 2.
    """

    def program() -> int:
        parser = Parser(prog=prog, description=description)
        reader = SettingsReader(parser, settings_class)
        arguments = parser.parse_args()
        settings = reader.read(arguments)
        if arguments.print_config:
            print(to_toml(settings), end="")
            return 0
        return run(settings)

    return exit_status(program)


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _nodes(schema: Mapping[str, Any], location: tuple[str, ...]) -> Mapping[str, Any]:
    """What the JSON schema says of a key, its reference followed; empty where it says nothing."""
    node: Mapping[str, Any] = schema
    for part in location:
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
        node = schema.get("$defs", {}).get(str(node.get("$ref", "")).rpartition("/")[2], node)
    return node


def _holds(values: Any, location: tuple[str, ...]) -> bool:
    for part in location:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
