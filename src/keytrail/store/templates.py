"""Path templates: rules by which paths with ids in them are one endpoint, such as `/users/{id}`.

Like the directory of consumers, an organisation's rules are replaced as a whole, in one insert, and the latest version
counts. Records keep their paths: what is taken away is as if it had never been.
"""

import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from keytrail.errors import RequestError
from keytrail.store.client import Engine
from keytrail.store.tables import TEMPLATES

MOST_TEMPLATES: Final = 1_000
"""Of an organisation."""
MOST_MASKS: Final = 50
"""Of an organisation: different places of parameters, each of which is looked for in each path."""
MOST_PARAMETERS: Final = 8
"""Of a pattern."""
LONGEST: Final = 512
"""Characters of a pattern or API id."""

_PARAMETER: Final = re.compile(r"\{[^{}/]+\}")


@dataclass(frozen=True, slots=True)
class Template:
    """That paths of one form are one endpoint.

    Attributes:
        org: Organisation.
        api: Id of the API; "" for all.
        pattern: The path, with `{name}` for a part between slashes that is not empty.
    """

    org: str
    api: str
    pattern: str

    @property
    def form(self) -> str:
        """What it matches: its pattern without the names of its parameters."""
        return _PARAMETER.sub("{}", self.pattern)

    @property
    def mask(self) -> tuple[bool, ...]:
        """Which parts between slashes are parameters."""
        return tuple(part == "{}" for part in self.form.split("/"))

    @property
    def rank(self) -> tuple[bool, tuple[bool, ...], str]:
        """Of several that match a path, the one with the least rank is meant.

        One of the API before one of all; then, from the left, a fixed part before a parameter.
        """
        return (not self.api, self.mask, self.form)


def check(templates: Sequence[Template]) -> None:
    """Refuse rules that can't be.

    Raises:
        RequestError: The message begins with the rule's place, from 0, as `templates[0].pattern`.
    """
    if len(templates) > MOST_TEMPLATES:
        raise RequestError(f"templates: at most {MOST_TEMPLATES} are taken")
    known: dict[tuple[str, str], int] = {}
    for place, one in enumerate(templates):
        at = f"templates[{place}]"
        if len(one.api) > LONGEST or len(one.pattern) > LONGEST:
            raise RequestError(f"{at}: a text has at most {LONGEST} characters")
        if "\n" in one.api or "\n" in one.pattern:
            raise RequestError(f"{at}: a text has no line breaks")
        if not one.pattern.startswith("/"):
            raise RequestError(f"{at}.pattern: {one.pattern[:40]!r} does not begin with /")
        if any({"{", "}"} & set(part) and not _PARAMETER.fullmatch(part) for part in one.pattern.split("/")):
            raise RequestError(f"{at}.pattern: a parameter is a name in braces and a whole part between slashes")
        if sum(one.mask) > MOST_PARAMETERS:
            raise RequestError(f"{at}.pattern: it has more than {MOST_PARAMETERS} parameters")
        before = known.setdefault((one.api, one.form), place)
        if before != place:
            raise RequestError(f"{at}: matches the same paths as templates[{before}]")
    if len({one.mask for one in templates}) > MOST_MASKS:
        raise RequestError(f"templates: parameters stand in more than {MOST_MASKS} different combinations of places")


def replace_templates(engine: Engine, org: str, templates: Sequence[Template]) -> None:
    """Replace an organisation's rules.

    Raises:
        RequestError: One of them can't be.
        StoreError: The engine refused it.
    """
    check(templates)
    # No rules are a version too: one row without a pattern.
    rows = templates or [Template(org, "", "")]
    before = engine.query(f"SELECT max(version) FROM {TEMPLATES} WHERE org_id = {{org:String}}", {"org": org}).rows
    version = max(time.time_ns(), int(before[0][0]) + 1)
    columns: dict[str, Any] = {
        "org_id": pa.array([org] * len(rows), pa.string()),
        "version": pa.array([version] * len(rows), pa.uint64()),
        "api_id": pa.array([one.api for one in rows], pa.string()),
        "pattern": pa.array([one.pattern for one in rows], pa.string()),
    }
    engine.insert(TEMPLATES, pa.table(columns), uuid.uuid4().hex)


def read_templates(engine: Engine) -> list[Template]:
    """The rules of all organisations, by organisation and rank."""
    found = engine.query(
        f"SELECT org_id, api_id, pattern FROM {TEMPLATES} WHERE pattern != '' "
        f"AND (org_id, version) IN (SELECT org_id, max(version) FROM {TEMPLATES} GROUP BY org_id)"
    )
    return sorted((Template(*row) for row in found.rows), key=lambda one: (one.org, one.rank))
