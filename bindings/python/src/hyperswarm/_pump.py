"""Turns of the library's loop, given by asyncio: no thread, no lock. All callbacks come inside `Pump.turn`.

One pump per asyncio loop, made with the first swarm or network on it and ended with the last.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import warnings
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import _library as c
from ._errors import HyperswarmError, check
from ._library import library

# What callbacks are for, by the number that C carries for them. Numbers are never given out twice.
_targets: Dict[int, Any] = {}
_numbers = itertools.count(1)


def register(target: Any) -> int:
    number = next(_numbers)
    _targets[number] = target
    return number


def unregister(number: int) -> None:
    _targets.pop(number, None)


def target(number: Optional[int]) -> Any:
    return _targets.get(number or 0)


def guarded(kind: Any, body: Callable[..., Any], failed: Any = None) -> Any:
    """A C callback. What it raises never goes through C: errors go to the handler of asyncio, what ends programs
    (KeyboardInterrupt) is raised when the turn of the library is over."""

    def call(*arguments: Any) -> Any:
        try:
            return body(*arguments)
        except (Exception, asyncio.CancelledError) as error:  # pylint: disable=broad-except
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a callback of hyperswarm failed", "exception": error})
        except BaseException as error:  # pylint: disable=broad-except
            Pump._all[asyncio.get_running_loop()].interruption = error
        return failed

    return kind(call)


class Pump:
    """The library's loop on one asyncio loop."""

    _all: Dict[asyncio.AbstractEventLoop, Pump] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.users = 0
        self.interruption: Optional[BaseException] = None
        self._timer: Optional[asyncio.Handle] = None
        self._is_in_turn = False
        self._is_ended = False
        made = ctypes.c_void_p()
        check(library.loop_create(ctypes.byref(made)))
        self.handle: int = made.value or 0
        self._descriptor = check(library.loop_fd(self.handle))
        loop.add_reader(self._descriptor, self.turn)

    @classmethod
    def take(cls) -> Pump:
        """That of the running loop, for one user more."""
        loop = asyncio.get_running_loop()
        pump = cls._all.get(loop)
        if pump is None:
            for dead in [it for it in list(cls._all) if it.is_closed()]:
                # Nothing can be called on it any more.
                cls._all.pop(dead, None)
                warnings.warn(
                    "an asyncio loop was closed before the swarms on it were destroyed", ResourceWarning, stacklevel=3)
            pump = cls._all[loop] = cls(loop)
        pump.users += 1
        return pump

    def drop(self) -> None:
        """A user less: its `done` has come, or it was never made."""
        self.users -= 1
        self.touch()

    def touch(self) -> None:
        """After every call into the library: there may be something to do at once."""
        if not self._is_in_turn and not self._is_ended:
            self._arm(0)

    def turn(self) -> None:
        """Does what is due, callbacks included."""
        if self._is_in_turn:
            return
        self._is_in_turn = True
        try:
            is_alive = library.process(self.handle) == 1
        finally:
            self._is_in_turn = False
        if is_alive or self.users > 0:
            self._arm(library.loop_timeout(self.handle))
        else:
            self._end()
        if self.interruption is not None:
            error, self.interruption = self.interruption, None
            raise error

    def _arm(self, milliseconds: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            self._timer = self.loop.call_soon(self.turn)
        elif milliseconds > 0:
            self._timer = self.loop.call_later(milliseconds / 1000, self.turn)

    def _end(self) -> None:
        # What outlives it, as a firewall that answers late, finds nothing to do: the next pump of the asyncio loop may
        # have the same handle.
        self._is_ended = True
        if self._timer is not None:
            self._timer.cancel()
        self.loop.remove_reader(self._descriptor)
        Pump._all.pop(self.loop, None)
        library.loop_destroy(self.handle)


class Operation:
    """One call whose completion is to come: the future of its outcome."""

    def __init__(self, future: asyncio.Future[Any], each: Optional[Callable[[Any], Any]] = None) -> None:
        self.future = future
        self.each = each
        self.number = register(self)

    def settle(self, value: Any) -> None:
        unregister(self.number)
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, status: int) -> None:
        unregister(self.number)
        if not self.future.done():
            self.future.set_exception(HyperswarmError(status))


async def operate(pump: Pump, swarm: int, call: Callable[[int], int],
                  each: Optional[Callable[[Any], Any]] = None) -> Any:
    """Waits for what `call` begins; when the waiting task is cancelled, gives it up."""
    operation = Operation(pump.loop.create_future(), each)
    try:
        check(call(operation.number))
    except BaseException:
        unregister(operation.number)
        raise
    begun = library.last_operation()
    pump.touch()
    try:
        return await operation.future
    except asyncio.CancelledError:
        library.cancel(swarm, begun)
        pump.touch()
        raise


def _done(_swarm: int, status: int, number: int) -> None:
    operation = target(number)
    if status < c.OK:
        operation.fail(status)
    else:
        operation.settle(None)


def _gone(number: int) -> None:
    target(number).settle(None)


def _each(read: Callable[[Any], Any]) -> Callable[[int, Any, int], int]:
    def call(_swarm: int, item: Any, number: int) -> int:
        operation = target(number)
        operation.each(read(item.contents))
        # A search whose reader has gone ends with it.
        return 1 if operation.future.done() else 0
    return call


def _answer(read: Callable[[Any], Any]) -> Callable[[int, Any, int], None]:
    return lambda _handle, answer, number: target(number).settle(read(answer))


def _outcome(read: Callable[[Any], Any]) -> Callable[[int, int, Any, int], None]:
    def call(_swarm: int, status: int, answer: Any, number: int) -> None:
        if status < c.OK:
            target(number).fail(status)
        else:
            target(number).settle(read(answer.contents))
    return call


def fields(struct: Any) -> Dict[str, Any]:
    """The numbers and texts of a struct, without its size and what is reserved."""
    return {name: _plain(getattr(struct, name))
            for name, *_ in struct._fields_ if name not in ("size", "reserved")}


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def addresses(value: Optional[bytes]) -> List[str]:
    """The parts of a list with commas."""
    return c.text(value).split(",") if value else []


def _record(record: c.Record) -> Tuple[bytes, List[str], str]:
    return c.octets(record.public_key, c.KEY_SIZE), addresses(record.relay_addresses), c.text(record.from_address)


def _peer(peer: c.PeerInfo) -> Tuple[bytes, Tuple[bytes, ...], Tuple[str, ...], Dict[str, int]]:
    topics = c.octets(peer.topics, peer.topic_count * c.KEY_SIZE)
    return (
        c.octets(peer.public_key, c.KEY_SIZE),
        tuple(topics[at:at + c.KEY_SIZE] for at in range(0, len(topics), c.KEY_SIZE)),
        tuple(addresses(peer.relay_addresses)),
        {name: getattr(peer, name) for name, *_ in peer._fields_[4:-1]})


def _topic(topic: c.TopicInfo) -> Tuple[bytes, Dict[str, Any]]:
    return c.octets(topic.topic, c.KEY_SIZE), {
        name: getattr(topic, name) for name in ("roles", "limit", "peers", "connections", "is_announced")}


def _value(value: c.Value) -> Tuple[bytes, bytes, int, bytes, int]:
    return (
        c.octets(value.key, c.KEY_SIZE), c.octets(value.data, value.length), value.sequence,
        c.octets(value.signature, c.SIGNATURE_SIZE), value.stored)


def _node(node: c.Node) -> Tuple[Optional[bytes], str]:
    return c.octets(node.id, c.KEY_SIZE) or None, c.text(node.address)


def _pong(pong: c.Pong) -> Tuple[Optional[bytes], str, str, int]:
    return (c.octets(pong.id, c.KEY_SIZE) or None, c.text(pong.address), c.text(pong.seen_address),
            pong.round_trip_time)


DONE = guarded(c.Done, _done)
GONE = guarded(c.Gone, _gone)
EACH_RECORD = guarded(c.EachRecord, _each(_record), 1)
EACH_PEER = guarded(c.EachPeer, _each(_peer))
EACH_TOPIC = guarded(c.EachTopic, _each(_topic))
EACH_NODE = guarded(c.EachNode, _each(_node))
ON_TEXT = guarded(c.OnText, _answer(c.text))
ON_STATISTICS = guarded(c.OnStatistics, _answer(lambda numbers: fields(numbers.contents)))
ON_CONNECTION_STATISTICS = guarded(c.OnConnectionStatistics, _answer(lambda numbers: fields(numbers.contents)))
ON_VALUE = guarded(c.OnValue, _outcome(_value))
ON_PONG = guarded(c.OnPong, _outcome(_pong))
read_peer = _peer
