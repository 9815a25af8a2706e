"""The one seam to the engine: the only package that imports its driver.

`engine.py` has what every engine does, `embedded.py` the one in this process, `server.py` a ClickHouse server or a
cluster.
"""

from keytrail.store.client.embedded import EmbeddedEngine
from keytrail.store.client.engine import DATABASE, INSERT_SETTINGS, Code, Engine, Handles, Rows
from keytrail.store.client.server import ServerEngine

__all__ = ["DATABASE", "INSERT_SETTINGS", "Code", "EmbeddedEngine", "Engine", "Handles", "Rows", "ServerEngine"]
