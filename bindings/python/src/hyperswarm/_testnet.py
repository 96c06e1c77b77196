"""A private network inside this process, for tests and development."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, Optional

from . import _library as c
from ._errors import HyperswarmError, check
from ._library import library
from ._pump import GONE, Operation, Pump, guarded, target, unregister


class Testnet:
    """Permanent nodes on 127.0.0.1.

        async with hyperswarm.Testnet(4) as network:
            swarm = hyperswarm.Swarm(bootstrap=network.bootstrap, host="127.0.0.1")
    """

    __test__ = False

    def __init__(self, nodes: int = 4) -> None:
        self._nodes = c.unsigned(nodes, 32)
        self._handle = 0
        self._gone: Optional[asyncio.Future[Any]] = None
        #: For the options of swarms.
        self.bootstrap = ""

    async def __aenter__(self) -> Testnet:
        self._pump = Pump.take()
        self._gone = None
        operation = Operation(self._pump.loop.create_future())
        made = ctypes.c_void_p()
        try:
            check(library.testnet_create(
                self._pump.handle, self._nodes, _ON_READY, operation.number, ctypes.byref(made)))
        except HyperswarmError:
            unregister(operation.number)
            self._pump.drop()
            raise
        self._handle = made.value or 0
        self._pump.touch()
        try:
            self.bootstrap = await asyncio.shield(operation.future)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._gone is None:
            operation = Operation(self._pump.loop.create_future())
            check(library.testnet_destroy(self._handle, GONE, operation.number))
            self._gone = operation.future
            self._gone.add_done_callback(lambda _: self._pump.drop())
            self._pump.touch()
        await asyncio.shield(self._gone)


def _ready(_network: int, status: int, bootstrap: Any, number: int) -> None:
    if status < c.OK:
        target(number).fail(status)
    else:
        target(number).settle(c.text(bootstrap))


_ON_READY = guarded(c.OnReady, _ready)
