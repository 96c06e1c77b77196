"""A private network, and swarms on it, for one test each."""

import asyncio
import contextlib
import unittest

import hyperswarm

# Seconds for anything that a test waits for.
DEADLINE = 30


class NetworkCase(unittest.IsolatedAsyncioTestCase):
    """Every test has a network of its own, and leaves nothing in the library."""

    nodes = 4

    async def asyncSetUp(self):
        # A busy machine is no finding.
        asyncio.get_running_loop().slow_callback_duration = DEADLINE
        self.stack = contextlib.AsyncExitStack()
        self.network = await self.stack.enter_async_context(hyperswarm.Testnet(self.nodes))

    async def asyncTearDown(self):
        await self.stack.aclose()
        await asyncio.sleep(0.02)
        self.assertEqual(hyperswarm.handle_count(), 0)

    async def swarm(self, **options):
        """On the network, destroyed after the test."""
        options.setdefault("bootstrap", self.network.bootstrap)
        made = hyperswarm.Swarm(host="127.0.0.1", **options)
        return await self.stack.enter_async_context(made)

    async def pair(self, **options):
        """Two connected swarms, and their connections."""
        one, other = await self.swarm(**options), await self.swarm()
        topic = hyperswarm.topic("a pair")
        await one.join(topic, client=False)
        await other.join(topic, server=False)
        return one, other, await soon(anext_of(one.connections)), await soon(anext_of(other.connections))


async def anext_of(feed):
    return await feed.__anext__()


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, DEADLINE)
