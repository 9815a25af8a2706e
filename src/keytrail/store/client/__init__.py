"""The one seam to the engine: the only package that imports its driver.

`engine.py` has what every engine does and the embedded one, `server.py` a ClickHouse server or a cluster.
"""

from keytrail.store.client.engine import DATABASE, INSERT_SETTINGS, Code, EmbeddedEngine, Engine, Handles, Rows
from keytrail.store.client.server import ServerEngine

__all__ = ["DATABASE", "INSERT_SETTINGS", "Code", "EmbeddedEngine", "Engine", "Handles", "Rows", "ServerEngine"]
