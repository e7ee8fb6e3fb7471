"""Real PostgreSQL and Valkey servers out of Python wheels: no root, no Docker, no compiler.

servers.py   EmbeddedServers: start, stop, addresses
postgres.py  valkey.py   what is particular to each
server.py    what they have in common
account.py   who they run as when we are root
"""

from shared.embedded.server import ServerProgram
from shared.embedded.servers import Addresses, EmbeddedServers

__all__ = ["Addresses", "EmbeddedServers", "ServerProgram"]
