"""Hyperswarm for asyncio: peers found by topic or by public key, connected through NATs, end-to-end encrypted.

    import hyperswarm

    async with hyperswarm.Swarm() as swarm:
        await swarm.join(hyperswarm.topic("a room"))
        async for connection in swarm.connections:
            await connection.write(b"hello")
            async for message in connection:
                print(message)

The shared library `libhyperswarm` does the work; `HYPERSWARM_LIBRARY` names its file where it is not installed.
"""

from ._connection import Connection
from ._dht import Node, Pong, Record, Value
from ._errors import HyperswarmError
from ._keys import KeyPair, hash, parse_key, to_hex, to_zbase32, topic
from ._library import ACCEPT, BAN, MAX_MESSAGE, MAX_VALUE, REFUSE, library
from ._server import Server
from ._swarm import Event, Feed, Peer, Swarm, Topic
from ._testnet import Testnet
from ._version import VERSION as __version__


def library_version() -> str:
    """That of the shared library."""
    return str(library.version().decode())


def handle_count() -> int:
    """Handles of the library that are still valid, and completions still to come, in this process: for leak checks."""
    return int(library.handle_count())


__all__ = [
    "ACCEPT", "BAN", "Connection", "Event", "Feed", "HyperswarmError", "KeyPair", "MAX_MESSAGE", "MAX_VALUE", "Node",
    "Peer", "Pong", "REFUSE", "Record", "Server", "Swarm", "Testnet", "Topic", "Value", "__version__", "handle_count",
    "hash", "library_version", "parse_key", "to_hex", "to_zbase32", "topic",
]
