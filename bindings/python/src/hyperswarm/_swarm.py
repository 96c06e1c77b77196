"""Swarms: topics, known peers, connections."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import weakref
from typing import (
    Any, AsyncIterator, Awaitable, Callable, Dict, Generic, Iterable, List, NamedTuple, Optional, Set, Tuple, TypeVar,
    Union)

from . import _library as c
from ._connection import Connection
from ._errors import HyperswarmError, check
from ._keys import KeyPair, joined, key32, secret
from ._library import library
from ._pump import (
    DONE, EACH_PEER, EACH_TOPIC, GONE, ON_STATISTICS, ON_TEXT, Operation, Pump, guarded, operate, read_peer, register,
    target, unregister)
from ._dht import DHT
from ._server import Server, ask_firewall

# Connections, or events, that wait to be taken; further connections are closed, further events dropped.
PENDING = 1024
_LEVELS = {c.LOG_ERROR: logging.ERROR, c.LOG_WARNING: logging.WARNING, c.LOG_INFO: logging.INFO}
_EVENTS = (
    "", "update", "dial-started", "dial-opened", "dial-failed", "dial-closed", "dial-skipped", "banned", "online",
    "silent", "persistent", "ephemeral", "address", "network-changed")

Firewall = Callable[[bytes, Optional[str]], Union[bool, int, Awaitable[Union[bool, int]]]]
Item = TypeVar("Item")


class Feed(Generic[Item]):
    """Things that happen one after the other: `async for`. Each goes to one reader. Ends with its source."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Optional[Item]] = asyncio.Queue(PENDING + 1)
        self._is_ended = False

    def _push(self, item: Item) -> bool:
        if self._is_ended or self._queue.qsize() >= PENDING:
            return False
        self._queue.put_nowait(item)
        return True

    def _end(self) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._queue.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        item = await self._queue.get()
        if item is None:
            self._queue.put_nowait(None)
            raise StopAsyncIteration
        return item


class Peer(NamedTuple):
    """A known peer. `topics`: joined ones that it was found under. `relay_addresses`: nodes that route to it. `state`:
    the other fields of `hyperswarm_peer_info_t` by name."""

    public_key: bytes
    topics: Tuple[bytes, ...]
    relay_addresses: Tuple[str, ...]
    state: Dict[str, int]


class Topic(NamedTuple):
    """A joined topic."""

    topic: bytes
    is_server: bool
    is_client: bool
    limit: int
    peers: int
    connections: int
    is_announced: bool


class Event(NamedTuple):
    """Something that happened inside: `kind` is "dial-failed", "banned", "silent" and so on (hyperswarm_event_t)."""

    kind: str
    public_key: Optional[bytes]
    status: int
    text: str
    address: Optional[str]
    next_retry: Optional[int]


class Swarm(DHT):
    """Finds peers that share a topic and keeps connections with them.

        async with hyperswarm.Swarm() as swarm:
            await swarm.join(hyperswarm.topic("a room"))
            async for connection in swarm.connections:
                ...

    Lives on the asyncio loop that it is made on, without a thread, and is used there only.
    """

    def __init__(
        self, *, bootstrap: Union[str, Iterable[str], None] = None, key_pair: Optional[KeyPair] = None,
        host: Optional[str] = None, port: int = 0, exact_port: bool = False, permanent: Optional[bool] = None,
        reachable: bool = False, keep_alive: Optional[int] = None, max_peers: int = 0, max_parallel: int = 0,
        max_connections: int = 0, max_client_connections: int = 0, max_server_connections: int = 0,
        max_message_size: int = 0, relays: Iterable[bytes] = (), firewall: Optional[Firewall] = None,
        logger: Optional[logging.Logger] = None, qlog: Optional[str] = None, low_power: bool = False
    ) -> None:
        """`firewall` gets the key and the address of a peer (`None` before a dial) and answers, at once or as a
        coroutine within 3 seconds: true, false, or `hyperswarm.BAN`. `keep_alive` in milliseconds, 0: off. The rest is
        as in `hyperswarm_options_t`."""
        relay_keys = joined(relays)
        entrance = bootstrap if bootstrap is None or isinstance(bootstrap, str) else ",".join(bootstrap)
        options = c.Options(
            secret_key=secret(key_pair), bootstrap=_encoded(entrance), host=_encoded(host), port=port,
            keep_alive=0 if keep_alive is None else keep_alive or -1, max_peers=max_peers, max_parallel=max_parallel,
            max_connections=max_connections, max_client_connections=max_client_connections,
            max_server_connections=max_server_connections, max_message_size=max_message_size, relays=relay_keys or None,
            relay_count=len(relay_keys) // c.KEY_SIZE, on_connection=_ON_CONNECTION, on_event=_ON_EVENT,
            qlog=_encoded(qlog),
            flags=(c.NODE_EXACT_PORT if exact_port else 0) | (c.NODE_REACHABLE if reachable else 0)
            | (c.NODE_LOW_POWER if low_power else 0)
            | (0 if permanent is None else c.NODE_PERMANENT if permanent else c.NODE_EPHEMERAL))
        if firewall is not None:
            options.on_firewall = _ON_FIREWALL
        if logger is not None:
            options.on_log, options.log_level = _ON_LOG, c.LOG_DEBUG
        self._firewall = firewall
        self._logger = logger
        self._tasks: Set[asyncio.Task[None]] = set()
        self._gone: Optional[asyncio.Future[Any]] = None
        self._pump = Pump.take()
        #: New connections of both roles, in the order in which they opened. Up to 1024 wait to be taken.
        self.connections: Feed[Connection] = Feed()
        # Those that are still read by someone.
        self._events: weakref.WeakSet[Feed[Event]] = weakref.WeakSet()
        self._number = register(self)
        options.loop, options.user_data = self._pump.handle, self._number
        made = ctypes.c_void_p()
        try:
            check(library.create(ctypes.byref(options), ctypes.byref(made)))
        except HyperswarmError:
            unregister(self._number)
            self._pump.drop()
            raise
        self._handle: int = made.value or 0
        self._pump.touch()

    # Life

    async def destroy(self, *, force: bool = False) -> None:
        """Withdraws the announcements (not with `force`), closes all connections and servers, and waits for it. It goes
        on when the waiting task is cancelled, and may be called again."""
        if self._gone is None:
            operation = Operation(self._pump.loop.create_future())
            check(library.destroy(self._handle, int(force), GONE, operation.number))
            self._gone = operation.future
            self._gone.add_done_callback(self._ended)
            self._pump.touch()
        await asyncio.shield(self._gone)

    def _ended(self, _: Any) -> None:
        unregister(self._number)
        self._pump.drop()
        self.connections._end()
        for feed in self._events:
            feed._end()

    async def __aenter__(self) -> Swarm:
        return self

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        await self.destroy(force=kind is not None)

    async def bootstrapped(self) -> None:
        """Waits until the node has entered the network; also when no other node is there."""
        await self._operate(library.bootstrapped)

    async def suspend(self) -> None:
        """Closes all connections and stops all traffic, until `resume`."""
        await self._operate(library.suspend)

    async def resume(self) -> None:
        await self._operate(library.resume)

    # About it

    @property
    def public_key(self) -> bytes:
        made = ctypes.create_string_buffer(c.KEY_SIZE)
        check(library.public_key(self._handle, made))
        return made.raw

    @property
    def port(self) -> int:
        """The UDP port of the node."""
        made = ctypes.c_uint16()
        check(library.local_port(self._handle, ctypes.byref(made)))
        return made.value

    async def statistics(self) -> Dict[str, Any]:
        """Live numbers, counters and addresses: the fields of `hyperswarm_statistics_t` by name."""
        numbers: Dict[str, Any] = await self._run(
            lambda number: library.statistics(self._handle, ON_STATISTICS, number))
        return numbers

    async def metrics(self) -> str:
        """The counters as text for Prometheus."""
        text: str = await self._run(lambda number: library.metrics(self._handle, ON_TEXT, number))
        return text

    def events(self) -> Feed[Event]:
        """What happens inside, from now on. Up to 1024 wait to be read, further ones are dropped."""
        feed: Feed[Event] = Feed()
        self._events.add(feed)
        if self._gone is not None and self._gone.done():
            feed._end()
        return feed

    # Topics

    async def join(self, topic: bytes, *, server: bool = True, client: bool = True, limit: int = 0) -> None:
        """Announces us under the topic (`server`), and looks for peers under it and dials them (`client`). Waits for
        the first round; a cancelled call leaves the topic joined."""
        roles = (c.SERVER if server else 0) | (c.CLIENT if client else 0)
        options = c.JoinOptions(roles=roles, limit=limit)
        await self._operate(library.join_with, key32(topic), ctypes.byref(options))

    async def leave(self, topic: bytes) -> None:
        """Leaves the topic and waits until it is no longer announced. Connections stay."""
        await self._operate(library.leave, key32(topic))

    async def refresh(self, topic: bytes) -> None:
        """Announces and looks up a joined topic now."""
        await self._operate(library.refresh, key32(topic))

    async def clear(self) -> None:
        """Leaves all topics. Connections stay."""
        await self._operate(library.clear)

    async def topics(self) -> List[Topic]:
        """Joined topics, in the order of joining."""
        found: List[Topic] = []

        def each(item: Any) -> None:
            key, info = item
            found.append(Topic(
                key, bool(info["roles"] & c.SERVER), bool(info["roles"] & c.CLIENT), info["limit"], info["peers"],
                info["connections"], bool(info["is_announced"])))
        await self._run(lambda number: library.topics(self._handle, EACH_TOPIC, DONE, number), each)
        return found

    async def flush(self, timeout: Optional[float] = None) -> None:
        """Waits until all topics are announced and looked up and every peer known by then was dialled once. `timeout`
        in seconds."""
        milliseconds = 0 if timeout is None else c.unsigned(max(1, int(timeout * 1000)), 64)
        await self._operate(library.flush, milliseconds)

    async def listen(self) -> None:
        """Accepts connections under the swarm's key without a topic."""
        await self._operate(library.listen)

    # Peers

    async def peers(self) -> List[Peer]:
        """Known peers: found, waiting, banned and connected ones."""
        found: List[Peer] = []
        await self._run(
            lambda number: library.peers(self._handle, EACH_PEER, DONE, number),
            lambda peer: found.append(Peer(*peer)))
        return found

    def join_peer(self, public_key: bytes) -> None:
        """Dials the peer with this key whatever the topics, for as long as it takes, until `leave_peer`."""
        self._call(library.peer_join, key32(public_key))

    def leave_peer(self, public_key: bytes) -> None:
        self._call(library.peer_leave, key32(public_key))

    def ban(self, public_key: bytes, is_banned: bool = True) -> None:
        """Never dials, accepts or retries a known peer, or lifts that again. A connection stays."""
        self._call(library.peer_ban, key32(public_key), int(is_banned))

    def reconnect(self, public_key: bytes, is_enabled: bool) -> None:
        """Whether to dial a known peer again when its connection has ended."""
        self._call(library.peer_reconnect, key32(public_key), int(is_enabled))

    async def connect(
        self, public_key: bytes, *, key_pair: Optional[KeyPair] = None, relay_addresses: Iterable[str] = (),
        relays: Iterable[bytes] = (), deadline: Optional[float] = None, holepunch: bool = True
    ) -> Connection:
        """Connects to the peer that listens with this key. Cancelling the task gives the attempt up. `deadline` in
        seconds."""
        key, relay_keys = key32(public_key), joined(relays)
        options = c.ConnectOptions(
            secret_key=secret(key_pair), relay_addresses=_encoded(",".join(relay_addresses)), relays=relay_keys or None,
            relay_count=len(relay_keys) // c.KEY_SIZE, deadline=0 if deadline is None else max(1, int(deadline * 1000)),
            flags=0 if holepunch else c.CONNECT_NO_HOLEPUNCH)
        connection = Connection(self._pump, self._handle)
        made = ctypes.c_void_p()
        try:
            check(library.connect(
                self._handle, key, ctypes.byref(options), ctypes.byref(connection._callbacks()),
                ctypes.byref(made)))
        except HyperswarmError:
            unregister(connection._number)
            raise
        connection._handle = made.value or 0
        self._pump.touch()
        try:
            await asyncio.shield(connection._opened)
        except asyncio.CancelledError:
            connection._opened.cancel()
            connection.destroy()
            raise
        return connection

    async def serve(
        self, *, key_pair: Optional[KeyPair] = None, firewall: Optional[Firewall] = None, relay: bool = False,
        relays: Iterable[bytes] = (), holepunch: bool = True, share_local_address: bool = True,
        relay_limits: Optional[Dict[str, int]] = None
    ) -> Server:
        """Accepts connections under a key pair, the swarm's by default, and announces it. Returns when the first nodes
        hold the announcement. With `relay` it serves as a blind relay. `firewall` as for the swarm."""
        server = Server(self._pump, self._handle, firewall, Feed())
        await server._listen(
            secret(key_pair), joined(relays), relay_limits,
            (0 if holepunch else c.SERVER_NO_HOLEPUNCH) | (c.SERVER_RELAY if relay else 0)
            | (0 if share_local_address else c.SERVER_NO_LOCAL_ADDRESS))
        return server

    # Calls

    def _call(self, function: Any, *arguments: Any) -> None:
        check(function(self._handle, *arguments))
        self._pump.touch()

    async def _operate(self, function: Any, *arguments: Any) -> None:
        await self._run(lambda number: function(self._handle, *arguments, DONE, number))

    async def _run(self, call: Callable[[int], int], each: Optional[Callable[[Any], Any]] = None) -> Any:
        return await operate(self._pump, self._handle, call, each)

    # What C says

    def _connected(self, handle: int, peer: Any) -> None:
        connection = Connection(self._pump, self._handle)
        connection._adopt(handle)
        connection.topics = read_peer(peer.contents)[1]
        if not self.connections._push(connection):
            connection.destroy()

    def _happened(self, event: c.Event) -> None:
        kind = _EVENTS[event.kind] if event.kind < len(_EVENTS) else str(event.kind)
        made = Event(
            kind, c.octets(event.public_key, c.KEY_SIZE) or None, event.status, c.text(event.text),
            c.text(event.address) or None, event.next_retry if event.next_retry >= 0 else None)
        for feed in self._events:
            feed._push(made)

    def _asked(self, verdict: int, public_key: Any, address: Optional[bytes]) -> None:
        ask_firewall(self, self._firewall, verdict, public_key, address)


def _encoded(text: Optional[str]) -> Optional[bytes]:
    return None if text is None else text.encode()


def _logged(swarm: Swarm, level: int, line: bytes) -> None:
    if swarm._logger is not None:
        swarm._logger.log(_LEVELS.get(level, logging.DEBUG), "%s", c.text(line))


_ON_CONNECTION = guarded(
    c.OnConnection, lambda _swarm, handle, peer, number: target(number)._connected(handle, peer))
_ON_EVENT = guarded(c.OnEvent, lambda _swarm, event, number: target(number)._happened(event.contents))
_ON_FIREWALL = guarded(
    c.OnFirewall, lambda _owner, verdict, key, address, number: target(number)._asked(verdict, key, address))
_ON_LOG = guarded(c.OnLog, lambda _swarm, level, line, number: _logged(target(number), level, line))
