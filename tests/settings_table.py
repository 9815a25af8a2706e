"""The table of settings in `docs/settings.md`, made from the classes that read them.

`python -m tests.settings_table` writes the file again.
"""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from keytrail.config import ENV_PREFIX, Settings, Token

FILE = Path(__file__).parents[1] / "docs" / "settings.md"

INTRODUCTION = """# Settings

<!-- Written by `python -m tests.settings_table` from src/keytrail/config/sections.py. -->

Settings stand in a TOML file: the one that `--config` names, else the first `keytrail.toml` that is found in the
working directory, in the system's folder (on Linux `/etc/xdg/keytrail`) or in the user's (`~/.config/keytrail`). Each
is also a variable of the environment: `server.port` is `KEYTRAIL_SERVER__PORT`, a list is written as JSON. The command
line wins over the environment, and the environment over the file. A setting that is unknown or of the wrong type stops
the start with its name, in the file and in the environment alike; `keytrail check` tries them.

The file is read at the start. Only its tokens are read again when it changes, within a second; a broken edit leaves
them as they were and is logged as an error.
"""

EXAMPLE = """
## An example

```toml
timezone = "Europe/Berlin"

[server]
host = "0.0.0.0"
public_path = "/stats"

[store]
url = "chdb:/var/lib/keytrail"

[privacy]
client_ip = "truncate"

[[tokens]]                       # as `keytrail token create --org … --permission analytics` prints it
name = "ops"
sha256 = "d8b1a9c1f2f0f7a1d6b0a3f6f3b6c0f4e5a2b7c8d9e0f1a2b3c4d5e6f7a8b9c0"
org = "5e9d9544a1dcd60001d0ed20"
permissions = ["analytics", "logs"]
expires = 2027-12-31
```
"""


def page() -> str:
    """The whole file."""
    sections = {name: _inner(field) for name, field in Settings.model_fields.items()}
    plain = {
        name: field for name, field in Settings.model_fields.items() if sections[name] is None and name != "tokens"
    }
    parts = [INTRODUCTION, _table("", plain)]
    for name, model in sections.items():
        if model is not None:
            parts.append(f"\n## `[{name}]`\n\n{_sentence(model)}\n\n{_table(f'{name}.', model.model_fields)}")
    tokens = f"\n## `[[tokens]]`\n\n{_sentence(Token)} One entry for each.\n\n{_table('tokens.', Token.model_fields)}"
    return "".join([*parts, tokens, EXAMPLE])


def names() -> Iterator[str]:
    """Every setting by its dotted name."""
    for name, field in Settings.model_fields.items():
        inner = Token if name == "tokens" else _inner(field)
        yield from (f"{name}.{each}" for each in inner.model_fields) if inner else (name,)


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        cells = (f"`{prefix}{name}`", _type(field), _default(field), field.description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n" if prefix else "\n" + "\n".join(lines) + "\n"


_LIMITS = {Gt: "above", Ge: "from", Lt: "below", Le: "to"}
_TYPES: dict[Any, str] = {
    **{str: "text", SecretStr: "text", Path: "a file", date: "date"},
    **{int: "whole number", float: "number", bool: "true or false"},
}


def _type(field: FieldInfo) -> str:
    return _type_of(field.annotation) + _limits_of(field)


def _limits_of(field: FieldInfo) -> str:
    limits = ((item, word) for item in field.metadata for kind, word in _LIMITS.items() if isinstance(item, kind))
    return "".join(f" {word} {getattr(item, type(item).__name__.lower())}" for item, word in limits)


def _type_of(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, *limits = arguments
        return _type_of(inner) + "".join(_limits_of(one) for one in limits)
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in arguments)
    if origin is list:
        return f"list of {_type_of(arguments[0])}"
    if origin in {Union, UnionType}:
        return " or ".join(_type_of(each) for each in arguments if each is not type(None))
    return _TYPES[kind]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "none" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
    print(f"{FILE} written; variables begin with {ENV_PREFIX}")
