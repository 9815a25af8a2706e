"""All settings together, and how they are read.

An unknown or ill-typed setting stops the start with its name.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import platformdirs
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from keytrail.config.sections import (
    Gateway,
    PositiveInt,
    Privacy,
    Redis,
    Retention,
    Section,
    Server,
    Store,
    Token,
)
from keytrail.errors import ConfigError
from keytrail.instants import zone

FILE_NAME: Final = "keytrail.toml"
ENV_PREFIX: Final = "KEYTRAIL_"
NOT_SETTINGS: Final = frozenset({"KEYTRAIL_CLI_TOKEN"})
"""Variables of the environment that options of the command line are read from."""


class Settings(BaseSettings):
    """All settings of keytrail."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    timezone: str = Field("UTC", description="Zone of the days of the compatible API: an IANA name.")
    track_all_paths: bool = Field(True, description="Count untracked paths as endpoints too; applied when reading.")
    page_size: PositiveInt = Field(10, description="Rows of a page of the compatible API.")
    server: Server = Server()
    store: Store = Store()
    retention: Retention = Retention()
    redis: Redis = Redis()
    privacy: Privacy = Privacy()
    gateway: Gateway = Gateway()
    tokens: list[Token] = Field(default_factory=list, description="Who may ask; see `keytrail token create`.")

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            zone(value)
        except KeyError:
            msg = f"{value!r} is not a known time zone"
            raise ValueError(msg) from None
        return value

    @model_validator(mode="after")
    def _unique_tokens(self) -> "Settings":
        for attribute in ("name", "sha256"):
            seen: set[str] = set()
            for token in self.tokens:
                value = str(getattr(token, attribute)).lower()
                if value in seen:
                    msg = f"two tokens have the same {attribute}: {token.name!r}"
                    raise ValueError(msg)
                seen.add(value)
        return self


def find_file() -> Path | None:
    """The first settings file of: the working directory, the system's folder, the user's folder."""
    folders = (
        Path(),
        Path(platformdirs.site_config_dir("keytrail")),
        Path(platformdirs.user_config_dir("keytrail")),
    )
    return next((path for folder in folders if (path := folder / FILE_NAME).is_file()), None)


def load(file: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings.

    Args:
        file: A TOML file; None looks in the usual places, and none there means the defaults.
        overrides: Values of the command line by dotted name, which win over everything.

    Raises:
        ConfigError: A file that can't be read, an unknown or ill-typed setting; names it.
    """
    path = file or find_file()
    if path and not path.is_file():
        raise ConfigError(f"settings file {path}: no such file" if not path.exists() else f"{path} is no file")
    _refuse_unknown_environment(os.environ)

    class _Sourced(Settings):
        @classmethod
        def settings_customise_sources(  # type: ignore[override] # the library passes the sources by keyword
            cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = (TomlConfigSettingsSource(settings_cls, path),) if path else ()
            return (sources["init_settings"], sources["env_settings"], *toml)

    try:
        return _Sourced(**_nested(overrides or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path}: {error}") from error
    except OSError as error:
        raise ConfigError(f"settings file {path}: {error.strerror}") from error
    except SettingsError as error:
        raise ConfigError(f"environment: {error}") from error


def _nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in dotted.items():
        *sections, last = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return nested


def _refuse_unknown_environment(environment: Mapping[str, str]) -> None:
    """The settings library lets some misspelt names pass, so each is looked up here."""
    for name in environment:
        if not name.upper().startswith(ENV_PREFIX) or name in NOT_SETTINGS:
            continue
        section, *rest = name[len(ENV_PREFIX) :].lower().split("__")
        field = Settings.model_fields.get(section)
        inner = field.annotation if field else None
        known = inner is not None and (
            not rest
            or (
                len(rest) == 1
                and isinstance(inner, type)
                and issubclass(inner, Section)
                and rest[0] in inner.model_fields
            )
        )
        if not known:
            raise ConfigError(f"environment variable {name}: unknown setting")


def _explain(error: ValidationError, path: Path | None) -> str:
    where = f"settings ({path})" if path else "settings"
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"]) or "settings"
        text = "unknown setting" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {name}: {text}")
    return "\n".join(lines)
