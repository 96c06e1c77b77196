"""Encrypted connections."""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from typing import Any, AsyncIterator, Deque, Dict, Optional, Tuple

from . import _library as c
from ._errors import HyperswarmError, check
from ._library import Buffer, library
from ._pump import (
    ON_CONNECTION_STATISTICS, ON_TEXT, Operation, Pump, guarded, operate, register, target, unregister)

# Bytes of messages that wait to be read: above this the connection is paused, below half of it it goes on.
READ_WINDOW = 1 << 20
# Datagrams that wait to be read; further ones are dropped, like everywhere on their way.
DATAGRAMS = 256


class Connection:
    """An encrypted connection with one peer.

        async for message in connection:
            await connection.write(message)

    Iteration ends when the peer has ended its half, and raises `HyperswarmError` when the connection breaks.
    """

    def __init__(self, pump: Pump, swarm: int) -> None:
        self._pump = pump
        self._swarm = swarm
        self._handle = 0
        self._messages: Deque[bytes] = deque()
        self._datagrams: Deque[bytes] = deque()
        self._waiting = 0
        self._is_paused = False
        self._is_ended = False
        self._status: Optional[int] = None
        self._reason = ""
        self._remote_public_key = b""
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._closed = asyncio.Event()
        self._opened: asyncio.Future[Any] = pump.loop.create_future()
        self.is_initiator = False
        #: What the swarm knew about the peer when the connection opened; `None` without a topic.
        self.topics: Tuple[bytes, ...] = ()
        self._number = register(self)

    # What C says

    def _callbacks(self) -> c.ConnectionCallbacks:
        return c.ConnectionCallbacks(
            on_open=_ON_OPEN, on_message=_ON_MESSAGE, on_datagram=_ON_DATAGRAM, on_drain=_ON_DRAIN, on_end=_ON_END,
            on_close=_ON_CLOSE, user_data=self._number)

    def _adopt(self, handle: int) -> None:
        """A connection that is open."""
        self._handle = handle
        self._open()
        check(library.connection_set_callbacks(handle, ctypes.byref(self._callbacks())))

    def _open(self) -> None:
        self.is_initiator = library.connection_is_initiator(self._handle) == 1
        made = ctypes.create_string_buffer(c.KEY_SIZE)
        check(library.connection_remote_public_key(self._handle, made))
        self._remote_public_key = made.raw
        made = ctypes.create_string_buffer(c.HASH_SIZE)
        check(library.connection_handshake_hash(self._handle, made))
        self._handshake_hash = made.raw
        if not self._opened.done():
            self._opened.set_result(None)

    def _take(self, message: bytes) -> None:
        self._messages.append(message)
        self._waiting += len(message)
        self._changed.set()
        if self._waiting > READ_WINDOW and not self._is_paused:
            self._is_paused = library.connection_pause(self._handle) == c.OK

    def _take_datagram(self, datagram: bytes) -> None:
        if len(self._datagrams) < DATAGRAMS:
            self._datagrams.append(datagram)
            self._changed.set()

    def _end(self) -> None:
        self._is_ended = True
        self._changed.set()

    def _close(self, status: int) -> None:
        text = ctypes.create_string_buffer(256)
        library.connection_reason(self._handle, text, len(text))
        self._status, self._reason = status, text.value.decode("utf-8", "replace")
        unregister(self._number)
        for event in (self._changed, self._drained, self._closed):
            event.set()
        if not self._opened.done():
            self._opened.set_exception(self._error())

    def _error(self) -> HyperswarmError:
        return HyperswarmError(self._status or c.ERR_CLOSED, self._reason)

    # About it

    @property
    def remote_public_key(self) -> bytes:
        """Of the peer. See `is_peer_proven`."""
        return self._remote_public_key

    @property
    def handshake_hash(self) -> bytes:
        """The same on both sides and on no other connection. Not secret."""
        return self._handshake_hash

    @property
    def is_peer_proven(self) -> bool:
        """Whether the peer has proved on this connection that it holds its public key."""
        return int(library.connection_is_peer_proven(self._handle)) == 1

    @property
    def is_closed(self) -> bool:
        return self._status is not None

    async def statistics(self) -> Dict[str, Any]:
        """Numbers, the remote address, and whether packets go over a relay."""
        found: Dict[str, Any] = await operate(self._pump, self._swarm, lambda number: library.connection_statistics(
            self._handle, ON_CONNECTION_STATISTICS, number))
        return found

    async def timeline(self) -> str:
        """How the connection came about, one line per step."""
        text: str = await operate(self._pump, self._swarm, lambda number: library.connection_timeline(
            self._handle, ON_TEXT, number))
        return text

    # Reading

    async def read(self) -> Optional[bytes]:
        """The next message; `None` when the peer has ended its half. Raises when the connection broke."""
        while not self._messages:
            if self._is_ended or self._status == c.OK:
                return None
            if self._status is not None:
                raise self._error()
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._waiting -= len(message)
        if self._is_paused and self._waiting < READ_WINDOW // 2:
            self._is_paused = False
            library.connection_resume(self._handle)
            self._pump.touch()
        return message

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        message = await self.read()
        if message is None:
            raise StopAsyncIteration
        return message

    async def datagrams(self) -> AsyncIterator[bytes]:
        """Unordered, unreliable datagrams, until the connection closes. Up to 256 wait to be read."""
        while self._datagrams or not self.is_closed:
            if self._datagrams:
                yield self._datagrams.popleft()
            else:
                self._changed.clear()
                await self._changed.wait()

    # Writing

    async def write(self, message: Buffer | str, *, acknowledged: bool = False) -> None:
        """Sends one message. Returns when there is room for another one, or, with `acknowledged`, when the peer's
        transport has it."""
        data = message.encode() if isinstance(message, str) else c.plain(message)
        operation = Operation(self._pump.loop.create_future()) if acknowledged else None
        written = _ON_WRITTEN if operation else c.ConnectionStatus()
        while True:
            self._drained.clear()
            queued = library.connection_write(
                self._handle, data, len(data), written, operation.number if operation else None)
            self._pump.touch()
            if queued != c.ERR_QUEUE_FULL or self.is_closed:
                break
            await self._drained.wait()
        if queued < c.OK:
            if operation:
                unregister(operation.number)
            raise self._error() if self.is_closed else HyperswarmError(queued)
        if operation:
            await operation.future
        elif queued > c.WRITE_HIGH_WATER:
            await self._drained.wait()

    def send_datagram(self, datagram: Buffer) -> None:
        """One unordered, unreliable datagram of about 1,100 bytes at most."""
        data = c.plain(datagram)
        self._call(library.connection_send_datagram, data, len(data))

    def end(self) -> None:
        """Ends the writing half after everything written so far. Reading goes on."""
        self._call(library.connection_end)

    def destroy(self) -> None:
        """Aborts: what is queued is dropped, the peer sees a reset."""
        if not self.is_closed and library.connection_destroy(self._handle) == c.OK:
            self._pump.touch()

    async def close(self) -> None:
        """Ends the writing half, reads what still comes and drops it, and waits until the peer has ended too."""
        if not self.is_closed:
            library.connection_end(self._handle)
            self._pump.touch()
            while await self.read() is not None:
                pass
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Until the connection has closed, for whatever reason."""
        await self._closed.wait()

    def set_keep_alive(self, milliseconds: int) -> None:
        """Without anything written for so long an empty message goes out; 0: off."""
        self._call(library.connection_set_keep_alive, c.unsigned(milliseconds, 32))

    def set_timeout(self, milliseconds: int) -> None:
        """Without anything received for so long the connection closes; 0: off."""
        self._call(library.connection_set_timeout, c.unsigned(milliseconds, 32))

    def _call(self, function: Any, *arguments: Any) -> None:
        if self.is_closed:
            raise self._error()
        check(function(self._handle, *arguments))
        self._pump.touch()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        """After an exception the connection is aborted; otherwise its writing half ends, and it closes with the
        peer's."""
        if kind is not None:
            self.destroy()
        elif not self.is_closed:
            library.connection_end(self._handle)
            self._pump.touch()


def _written(_connection: int, status: int, number: int) -> None:
    operation = target(number)
    if status < c.OK:
        operation.fail(status)
    else:
        operation.settle(None)


_ON_OPEN = guarded(c.ConnectionDone, lambda _handle, number: target(number)._open())
_ON_MESSAGE = guarded(
    c.ConnectionBytes, lambda _handle, data, count, number: target(number)._take(c.octets(data, count)))
_ON_DATAGRAM = guarded(
    c.ConnectionBytes, lambda _handle, data, count, number: target(number)._take_datagram(c.octets(data, count)))
_ON_DRAIN = guarded(c.ConnectionDone, lambda _handle, number: target(number)._drained.set())
_ON_END = guarded(c.ConnectionDone, lambda _handle, number: target(number)._end())
_ON_CLOSE = guarded(c.ConnectionStatus, lambda _handle, status, number: target(number)._close(status))
_ON_WRITTEN = guarded(c.ConnectionStatus, _written)
