"""The invented companies as a directory of consumers: their keys, and the OAuth clients of the greatest ones."""

import re

from keytrail.demo.world import ORG_ID, World
from keytrail.store.consumers import Link


def directory(world: World) -> list[Link]:
    """Which key and client belongs to which company; keys without a name belong to nobody."""
    keys: dict[str, list[str]] = {}
    for caller in world.callers:
        if caller.alias and not caller.client:
            # An alias is a company's name of two words and an app's, or one that was thought up as a whole.
            company = " ".join(caller.alias.split()[:2]) if caller.alias.isascii() else caller.alias
            keys.setdefault(company, []).append(caller.key)
    clients = list(dict.fromkeys(caller.client for caller in world.callers if caller.client))
    links = []
    # Companies stand in the order of their greatest key, clients in that of their own traffic.
    for place, (company, held) in enumerate(keys.items()):
        here = [("key", key) for key in held] + [("client", client) for client in clients[place : place + 1]]
        links += [Link(ORG_ID, _slug(company), company, kind, value) for kind, value in here]
    return links


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")
