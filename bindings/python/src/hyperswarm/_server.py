"""Servers: connections by key."""

from __future__ import annotations

import asyncio
import ctypes
import inspect
from typing import Any, Dict, List, Optional, Set

from . import _library as c
from ._connection import Connection
from ._errors import HyperswarmError, check
from ._library import library
from ._pump import ON_TEXT, Pump, guarded, operate, register, target, unregister


# Seconds: the library has refused by then, and an answer that never comes would keep its task.
VERDICT_TIME = 10.0


def read_verdict(answer: Any) -> int:
    """True, false, or one of the numbers."""
    if isinstance(answer, bool) or answer is None:
        return c.ACCEPT if answer else c.REFUSE
    return answer if answer in (c.ACCEPT, c.REFUSE, c.BAN) else c.REFUSE


def ask_firewall(
    owner: Any, firewall: Any, verdict: int, public_key: Any, address: Optional[bytes]
) -> None:
    """Hands a question of the library to a function or coroutine of the program."""
    answer: Any = False
    try:
        answer = firewall(c.octets(public_key, c.KEY_SIZE), c.text(address) or None)
    finally:
        # Also when it has raised: refused.
        is_later = inspect.isawaitable(answer)
        if not is_later:
            library.verdict_give(verdict, read_verdict(answer))
    if not is_later:
        return

    async def wait() -> None:
        given: Any = False
        try:
            given = await asyncio.wait_for(answer, VERDICT_TIME)
        except asyncio.TimeoutError:
            pass
        finally:
            library.verdict_give(verdict, read_verdict(given))
            owner._pump.touch()

    task = owner._pump.loop.create_task(wait())
    owner._tasks.add(task)
    task.add_done_callback(owner._tasks.discard)


class Server:
    """Listens for connections under a key pair, until `close`. Connections stay then."""

    def __init__(self, pump: Pump, swarm: int, firewall: Any, connections: Any) -> None:
        self._pump = pump
        self._swarm = swarm
        self._firewall = firewall
        self._tasks: Set[asyncio.Task[None]] = set()
        #: Connections in the order of their arrival. Up to 1024 wait to be taken.
        self.connections = connections
        self._listening: asyncio.Future[Any] = pump.loop.create_future()
        self._closed = asyncio.Event()
        self._handle = 0
        self.public_key = b""

    async def _listen(
        self, secret_key: Optional[bytes], relays: bytes, limits: Optional[Dict[str, int]], flags: int
    ) -> None:
        options = c.ServerOptions(
            secret_key=secret_key, relays=relays or None, relay_count=len(relays) // c.KEY_SIZE, flags=flags,
            on_listening=_ON_LISTENING, on_connection=_ON_CONNECTION, on_close=_ON_CLOSE)
        if self._firewall is not None:
            options.on_firewall = _ON_FIREWALL
        if limits is not None:
            bounds = c.RelayLimits(**limits)
            options.relay_limits = ctypes.pointer(bounds)
        self._number = options.user_data = register(self)
        made = ctypes.c_void_p()
        try:
            check(library.server_listen(self._swarm, ctypes.byref(options), ctypes.byref(made)))
        except HyperswarmError:
            unregister(self._number)
            raise
        self._handle = made.value or 0
        key = ctypes.create_string_buffer(c.KEY_SIZE)
        check(library.server_public_key(self._handle, key))
        self.public_key = key.raw
        self._pump.touch()
        try:
            await asyncio.shield(self._listening)
        except asyncio.CancelledError:
            self._listening.cancel()
            library.server_close(self._handle)
            self._pump.touch()
            raise

    async def relay_addresses(self) -> List[str]:
        """Nodes that route to the server: for `relay_addresses` of `Swarm.connect`."""
        text = await operate(self._pump, self._swarm, lambda number: library.server_relay_addresses(
            self._handle, ON_TEXT, number))
        return text.split(",") if text else []

    def refresh(self) -> None:
        """Announces again soon: for programs that know of a change of network."""
        check(library.server_refresh(self._handle))
        self._pump.touch()

    def set_busy(self, is_busy: bool) -> None:
        """While busy, peers are refused in the answer to their handshake."""
        check(library.server_set_busy(self._handle, int(is_busy)))
        self._pump.touch()

    async def close(self) -> None:
        """Stops accepting, withdraws the announcement, and waits for it."""
        if not self._closed.is_set():
            library.server_close(self._handle)
            self._pump.touch()
        await self._closed.wait()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    # What C says

    def _heard(self, status: int) -> None:
        if self._listening.done():
            return
        if status < c.OK:
            self._listening.set_exception(HyperswarmError(status))
        else:
            self._listening.set_result(None)

    def _connected(self, handle: int) -> None:
        connection = Connection(self._pump, self._swarm)
        connection._adopt(handle)
        if not self.connections._push(connection):
            connection.destroy()

    def _asked(self, verdict: int, public_key: Any, address: Optional[bytes]) -> None:
        ask_firewall(self, self._firewall, verdict, public_key, address)

    def _close(self) -> None:
        unregister(self._number)
        self.connections._end()
        self._closed.set()
        self._heard(c.ERR_CLOSED)


_ON_LISTENING = guarded(c.ServerStatus, lambda _server, status, number: target(number)._heard(status))
_ON_CONNECTION = guarded(
    c.ServerConnection, lambda _server, connection, number: target(number)._connected(connection))
_ON_CLOSE = guarded(c.ServerDone, lambda _server, number: target(number)._close())
_ON_FIREWALL = guarded(
    c.OnFirewall, lambda _owner, verdict, key, address, number: target(number)._asked(verdict, key, address))
