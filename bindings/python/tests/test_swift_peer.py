"""A peer of the Swift implementation in another process: the command-line tool, named by HYPERSWARM_TOOL."""

import asyncio
import json
import os
import unittest

import hyperswarm
from support import NetworkCase, anext_of, soon

TOOL = os.environ.get("HYPERSWARM_TOOL")


@unittest.skipUnless(TOOL, "HYPERSWARM_TOOL does not name the command-line tool")
class SwiftPeerTests(NetworkCase):
    async def tool(self, *arguments):
        process = await asyncio.create_subprocess_exec(
            TOOL, arguments[0], "--bootstrap", self.network.bootstrap, "--json", *arguments[1:],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)

        async def end():
            if process.returncode is None:
                process.kill()
            await process.communicate()
        self.stack.push_async_callback(end)
        return process

    async def test_python_dials_swift(self):
        tool = await self.tool("listen")
        key = None
        while key is None:
            line = json.loads(await soon(tool.stderr.readline()))
            key = line.get("publicKey") or line.get("key")
        swarm = await self.swarm()
        async with await soon(swarm.connect(hyperswarm.parse_key(key))) as connection:
            await connection.write(b"from Python\n")
            connection.end()
            tool.stdin.write(b"from Swift\n")
            tool.stdin.close()
            self.assertEqual(await soon(tool.stdout.readline()), b"from Python\n")
            self.assertEqual(b"".join([message async for message in connection]), b"from Swift\n")
        self.assertEqual(await soon(tool.wait()), 0)

    async def test_swift_dials_python(self):
        swarm = await self.swarm()
        server = await soon(swarm.serve())
        tool = await self.tool("connect", hyperswarm.to_zbase32(server.public_key))
        tool.stdin.write(bytes(range(256)) * 4096)
        tool.stdin.close()
        connection = await soon(anext_of(server.connections))
        received = b"".join([message async for message in connection])
        self.assertEqual(received, bytes(range(256)) * 4096)
        await connection.write(b"all of it")
        connection.end()
        self.assertEqual(await soon(tool.stdout.read()), b"all of it")
        self.assertEqual(await soon(tool.wait()), 0)

    async def test_a_topic_of_both(self):
        swarm = await self.swarm()
        await swarm.join(hyperswarm.topic("a room"), client=False)
        tool = await self.tool("join", "--client-only", "a room")
        connection = await soon(anext_of(swarm.connections))
        tool.stdin.write(b"a line\n")
        await tool.stdin.drain()
        self.assertIn(b"a line", await soon(connection.read()))


if __name__ == "__main__":
    unittest.main()
