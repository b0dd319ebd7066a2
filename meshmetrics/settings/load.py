"""Reads the settings, explains what is wrong with them, and writes the README's table."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from meshmetrics.settings.fields import PREFIX, DatabaseSettings, Settings

NOT_OURS = ("MESHMETRICS_TEST_",)
"""Variables of the test suite, not of the daemon."""

S = TypeVar("S", bound=DatabaseSettings)


class SettingsError(Exception):
    """One or more settings are wrong or missing; the message names each, for the operator."""


def load_settings(kind: type[S]) -> S:
    """Read the settings of this kind.

    Raises SettingsError with one message that names each wrong or missing setting and says what
    it takes, and repeats no secret.
    """
    try:
        _refuse_unset_references()
        return kind.model_validate({})
    except ValidationError as error:
        lines = [_explain(details) for details in error.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text") from None


def _refuse_unset_references() -> None:
    """In `.env`, `${x}` stands for the variable x. Where none is set it is empty, and a password
    that really contains `${x}` is another one: neither is meant.

    Raises SettingsError.
    """
    if not Path(".env").is_file():
        return
    written = dotenv_values(".env", interpolate=False)
    ours = {v for n, f in Settings.model_fields.items() for v in variables(n, f)}
    for name, value in written.items():
        if name.upper() not in ours or name in os.environ:
            continue
        for reference in re.findall(r"\$\{([^}:]*)\}", value or ""):
            if reference not in os.environ and reference not in written:
                shown = f"${{{reference}}}" if re.fullmatch(r"\w{1,40}", reference) else "${…}"
                raise SettingsError(
                    f"{name} in .env refers to {shown}, which is not set: set that variable, or, if"
                    " the characters belong to a password in a URL, write %24 for the $"
                )


def unknown_settings(names: Iterable[str] | None = None) -> list[str]:
    """A line for each unknown `MESHMETRICS_…` variable, with the nearest known one."""
    if names is None:
        names = _names_set()
    known = {
        name.upper() for name, field in Settings.model_fields.items() if not field.validation_alias
    }
    lines = []
    for name in sorted(set(names)):
        rest = name.removeprefix(PREFIX).upper()
        if name.startswith(PREFIX) and not name.startswith(NOT_OURS) and rest not in known:
            near = difflib.get_close_matches(rest, known, n=1)
            meant = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            lines.append(f"{name} is unknown{meant}")
    return lines


def _names_set() -> list[str]:
    """The names of all variables in the environment and in `.env`."""
    return [*os.environ, *(dotenv_values(".env") if Path(".env").is_file() else ())]


def variable(name: str, field: FieldInfo) -> str:
    """The environment variable of a field."""
    return variables(name, field)[0]


def variables(name: str, field: FieldInfo) -> list[str]:
    """The environment variable of a field, followed by its older names."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias or PREFIX + name.upper())]


def settings_table() -> str:
    """The settings as a Markdown table, for the README."""
    rows = ["| variable | default | takes | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(
            f"| `{variable(name, field)}` | {_default(field)} | {_takes(field)}"
            f" | {field.description} |"
        )
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    default = field.default
    if default is None:
        return "none"
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


def _takes(field: FieldInfo) -> str:
    """Which values the field takes, in words."""
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["takes"])
    annotation = field.annotation
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        bounds = {type(m).__name__: m for m in field.metadata}
        kind = "a whole number" if annotation is int else "a number"
        return f"{kind} from {bounds['Ge'].ge:,} to {bounds['Le'].le:,}"
    options = getattr(annotation, "__args__", ())
    if options and all(isinstance(option, str) for option in options):
        return " or ".join(f"`{option}`" for option in options)
    return "a secret" if "SecretStr" in str(annotation) else "text"


def _explain(details: ErrorDetails) -> str:
    key = str(details["loc"][0]).upper()
    fields = {variable(n, f).upper(): (n, f) for n, f in Settings.model_fields.items()}
    by_name = {n.upper(): (n, f) for n, f in Settings.model_fields.items()}
    name, field = fields.get(key) or by_name[key]
    called, *older = variables(name, field)
    names = _names_set()
    if called not in names:  # the operator may have set it by its older name
        called = next((other for other in older if other in names), called)
    takes, description = _takes(field), (field.description or "").replace("`", "")
    what = f"{takes.replace('`', '')} ({description})"
    if details["type"] == "missing":
        return f"{called} is missing: it takes {what}"
    if details["type"] == "setting":
        return f"{called} {details['msg']}: it takes {what}"
    if "SecretStr" in str(field.annotation):
        return f"{called} is invalid: it takes {what}"
    return f"{called} is {_shown(details)}: it takes {what}"


def _shown(details: ErrorDetails) -> str:
    text = repr(details["input"])
    return text if len(text) <= 60 else text[:57] + "…'"
