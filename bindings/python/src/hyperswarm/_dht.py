"""What the node of a swarm does with the network: look-ups, announcements, values, nodes."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, AsyncIterator, Callable, Iterable, List, NamedTuple, Optional

from . import _library as c
from ._errors import HyperswarmError
from ._keys import KeyPair, key32, secret
from ._library import library
from ._pump import DONE, EACH_NODE, EACH_RECORD, ON_PONG, ON_VALUE


class Record(NamedTuple):
    """An announced peer, as one node reports it."""

    public_key: bytes
    relay_addresses: List[str]
    from_address: str


class Value(NamedTuple):
    """A value of the network. `stored`: nodes that confirmed a put; 0 after a get."""

    key: bytes
    data: bytes
    sequence: int
    signature: bytes
    stored: int


class Node(NamedTuple):
    """A node of the network; without `id` it does not serve it."""

    id: Optional[bytes]
    address: str


class Pong(NamedTuple):
    """The answer to a ping. `seen_address` is ours, as the node sees it; the time is in milliseconds."""

    id: Optional[bytes]
    address: str
    seen_address: str
    round_trip_time: int


class DHT:
    """Part of `Swarm`."""

    _handle: int
    _pump: Any
    _run: Callable[..., Any]
    _operate: Callable[..., Any]
    _call: Callable[..., None]

    # Peers

    def lookup(self, topic: bytes) -> AsyncIterator[Record]:
        """Peers announced under the topic, the same one as often as nodes report it. Leaving the loop ends the
        search."""
        return self._search(library.lookup, key32(topic))

    def find_peer(self, public_key: bytes) -> AsyncIterator[Record]:
        """Nodes that hold an announcement of the key."""
        return self._search(library.find_peer, key32(public_key))

    async def announce(
        self, topic: bytes, key_pair: Optional[KeyPair] = None, *, relay_addresses: Iterable[str] = ()
    ) -> None:
        """Announces a key, the swarm's by default, under a topic for about 20 minutes. `join` keeps it fresh."""
        options = c.AnnounceOptions(secret_key=secret(key_pair), relay_addresses=",".join(relay_addresses).encode())
        await self._operate(library.announce_with, key32(topic), ctypes.byref(options))

    async def unannounce(self, topic: bytes, key_pair: Optional[KeyPair] = None) -> None:
        await self._operate(library.unannounce, key32(topic), secret(key_pair))

    async def _search(self, function: Any, key: bytes) -> AsyncIterator[Record]:
        records: asyncio.Queue[Optional[Record]] = asyncio.Queue()

        def each(record: Any) -> None:
            records.put_nowait(Record(*record))

        async def run() -> None:
            try:
                await self._run(lambda number: function(self._handle, key, EACH_RECORD, DONE, number), each)
            finally:
                records.put_nowait(None)

        task = asyncio.ensure_future(run())
        try:
            while True:
                record = await records.get()
                if record is None:
                    break
                yield record
            await task
        finally:
            task.cancel()

    # Values

    async def immutable_put(self, data: c.Buffer) -> Value:
        """Stores up to 1024 bytes under their hash, for about two days."""
        data = c.plain(data)
        return Value(*await self._run(lambda number: library.immutable_put(
            self._handle, data, len(data), ON_VALUE, number)))

    async def immutable_get(self, hash: bytes) -> Optional[Value]:
        """The value with this hash; `None` when no node has one."""
        return await self._get(lambda number: library.immutable_get(self._handle, key32(hash), ON_VALUE, number))

    async def mutable_put(self, data: c.Buffer, *, sequence: int = 0, key_pair: Optional[KeyPair] = None) -> Value:
        """Stores up to 1024 signed bytes under a key, the swarm's by default. A higher sequence number replaces a lower
        one."""
        data = c.plain(data)
        return Value(*await self._run(lambda number: library.mutable_put(
            self._handle, secret(key_pair), c.unsigned(sequence, 64), data, len(data), ON_VALUE, number)))

    async def mutable_get(self, public_key: bytes, *, sequence: int = 0) -> Optional[Value]:
        """The value with the highest sequence number of at least `sequence`; `None` when no node has one."""
        return await self._get(lambda number: library.mutable_get(
            self._handle, key32(public_key), c.unsigned(sequence, 64), ON_VALUE, number))

    async def _get(self, call: Callable[[int], int]) -> Optional[Value]:
        try:
            return Value(*await self._run(call))
        except HyperswarmError as error:
            if error.code == c.ERR_NOT_FOUND:
                return None
            raise

    # Nodes

    async def ping(self, address: str) -> Pong:
        """Asks a node whether it is there."""
        return Pong(*await self._run(lambda number: library.ping(self._handle, address.encode(), ON_PONG, number)))

    async def find_node(self, key: bytes) -> List[Node]:
        """The nodes closest to a key, closest first."""
        found: List[Node] = []
        await self._run(
            lambda number: library.find_node(self._handle, key32(key), EACH_NODE, DONE, number),
            lambda node: found.append(Node(*node)))
        return found

    def add_node(self, address: str) -> None:
        """Puts a node into the routing table."""
        self._call(library.add_node, address.encode())
