#!/usr/bin/env python3
"""A chat room: all that run this, or Examples/C/chat.c, with the same words talk with each other.

    chat.py "a room" [host:port,...]        the second argument enters a private network
"""

import asyncio
import sys

import hyperswarm


async def talk(connection, members):
    name = connection.remote_public_key.hex()[:8]
    members[name] = connection
    print(name, "is here", flush=True)
    try:
        async for message in connection:
            # From a stranger: nothing but text reaches the terminal.
            print(f"{name}:", "".join(it if it.isprintable() else " " for it in message.decode("utf-8", "replace")),
                  flush=True)
        connection.end()
    except hyperswarm.HyperswarmError as error:
        print(name, "is lost:", error, flush=True)
    finally:
        members.pop(name, None)
        print(name, "left", flush=True)


async def welcome(swarm, members):
    async for connection in swarm.connections:
        asyncio.ensure_future(talk(connection, members))


async def main(room, bootstrap):
    members = {}
    loop = asyncio.get_running_loop()
    async with hyperswarm.Swarm(bootstrap=bootstrap) as swarm:
        joining = asyncio.ensure_future(swarm.join(hyperswarm.topic(room)))
        welcoming = asyncio.ensure_future(welcome(swarm, members))
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            for connection in list(members.values()):
                try:
                    await connection.write(line.rstrip("\n"))
                except hyperswarm.HyperswarmError:
                    pass  # it has just left
        joining.cancel()
        welcoming.cancel()


asyncio.run(main(*(sys.argv[1:] + ["a room"])[:1], sys.argv[2] if len(sys.argv) > 2 else None))
