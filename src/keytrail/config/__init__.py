"""The settings: one documented table.

Every setting stands in a TOML file (`keytrail.toml`) and, by the same name, in the environment
(`KEYTRAIL_SECTION__NAME`; the environment wins). `sections` has them, `settings` puts them together and reads them.
`docs/settings.md` is held against these classes by a test.
"""

from keytrail.config.sections import (
    NEVER_KEPT,
    Gateway,
    Permission,
    Privacy,
    Redis,
    Retention,
    Server,
    Store,
    Token,
)
from keytrail.config.settings import ENV_PREFIX, Settings, find_file, load

__all__ = [
    "ENV_PREFIX",
    "NEVER_KEPT",
    "Gateway",
    "Permission",
    "Privacy",
    "Redis",
    "Retention",
    "Server",
    "Settings",
    "Store",
    "Token",
    "find_file",
    "load",
]
