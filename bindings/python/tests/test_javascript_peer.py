"""A peer of the JavaScript implementation in another process, where node and NODE_PATH with `hyperdht` are there."""

import asyncio
import json
import os
import shutil
import subprocess
import unittest

import hyperswarm
from support import NetworkCase, anext_of, soon

NODE = shutil.which("node")
# Listens under a key pair of its own or dials a key; says each message back in capitals.
PEER = """
const DHT = require('hyperdht')
const [role, entry, key] = process.argv.slice(1)
const [host, port] = entry.split(':')
const dht = new DHT({ bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1', ephemeral: true })
const say = (object) => console.log(JSON.stringify(object))
const shout = (stream) => {
  stream.on('error', (error) => say({ event: 'error', message: error.message }))
  stream.on('data', (data) => { stream.write(data.toString().toUpperCase()) })
  stream.on('end', () => stream.end())
  stream.on('close', () => say({ event: 'closed' }))
}
async function main () {
  if (role === 'dial') return shout(dht.connect(Buffer.from(key, 'hex')))
  const server = dht.createServer(shout)
  await server.listen(DHT.keyPair())
  say({ event: 'listening', key: server.publicKey.toString('hex') })
}
main()
"""


def has_packages():
    if not NODE:
        return False
    return subprocess.run([NODE, "-e", "require('hyperdht')"], capture_output=True, check=False).returncode == 0


@unittest.skipUnless(has_packages(), "no node with hyperdht in NODE_PATH")
class JavaScriptPeerTests(NetworkCase):
    async def peer(self, *arguments):
        entrance = self.network.bootstrap.split(",")[0]
        process = await asyncio.create_subprocess_exec(
            NODE, "-e", PEER, arguments[0], entrance, *arguments[1:], stdout=asyncio.subprocess.PIPE,
            env=dict(os.environ))

        async def end():
            if process.returncode is None:
                process.kill()
            await process.communicate()
        self.stack.push_async_callback(end)
        return process

    async def said(self, process, event):
        line = json.loads(await soon(process.stdout.readline()))
        self.assertEqual(line["event"], event, line)
        return line

    async def talk(self, connection, process):
        for text in (b"one", b"a longer one " * 5000):
            await connection.write(text)
            self.assertEqual(await soon(connection.read()), text.upper())
        connection.end()
        self.assertIsNone(await soon(connection.read()))
        await self.said(process, "closed")

    async def test_python_dials_javascript(self):
        process = await self.peer("listen")
        key = hyperswarm.parse_key((await self.said(process, "listening"))["key"])
        swarm = await self.swarm()
        async with await soon(swarm.connect(key)) as connection:
            await self.talk(connection, process)

    async def test_javascript_dials_python(self):
        swarm = await self.swarm()
        server = await soon(swarm.serve())
        process = await self.peer("dial", server.public_key.hex())
        async with await soon(anext_of(server.connections)) as connection:
            await self.talk(connection, process)


if __name__ == "__main__":
    unittest.main()
