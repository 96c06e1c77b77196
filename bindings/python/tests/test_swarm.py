"""Topics, connections, servers, events."""

import asyncio
import logging
import unittest

import hyperswarm
from hyperswarm._pump import Pump
from support import NetworkCase, anext_of, soon


class SwarmTests(NetworkCase):
    async def test_two_swarms_meet_and_talk(self):
        one, other, left, right = await self.pair()
        self.assertEqual(left.remote_public_key, other.public_key)
        self.assertEqual(right.remote_public_key, one.public_key)
        self.assertEqual(left.handshake_hash, right.handshake_hash)
        self.assertTrue(right.is_initiator and not left.is_initiator)
        self.assertEqual(right.topics, (hyperswarm.topic("a pair"),))
        await left.write("hello", acknowledged=True)
        self.assertEqual(await soon(right.read()), b"hello")
        self.assertTrue(right.is_peer_proven)
        for number in range(100):
            await right.write(str(number))
        right.end()
        self.assertEqual([int(message) async for message in left], list(range(100)))
        # The other half is open still.
        await left.write(b"late")
        left.end()
        self.assertEqual([message async for message in right], [b"late"])
        await soon(right.wait_closed())
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await right.write(b"too late")
        self.assertEqual(raised.exception.name, "CLOSED")

    async def test_bulk_is_exact_and_waits_for_a_slow_reader(self):
        _, _, left, right = await self.pair()
        message, count = bytes(range(256)) * 256, 200

        async def send():
            for number in range(count):
                await left.write(number.to_bytes(4, "big") + message)
            left.end()

        sender = asyncio.ensure_future(send())
        await asyncio.sleep(0.5)
        self.assertFalse(sender.done())  # 13 MB do not fit between a writer and a reader that does not read
        self.assertLess(right._waiting, 3 << 20)
        received = 0
        async for data in right:
            self.assertEqual(data, received.to_bytes(4, "big") + message)
            received += 1
        await soon(sender)
        self.assertEqual(received, count)

    async def test_datagrams(self):
        _, _, left, right = await self.pair()
        await left.write(b"proof", acknowledged=True)
        for _ in range(20):
            right.send_datagram(b"datum")
            await asyncio.sleep(0.01)
        self.assertEqual(await soon(left.datagrams().__anext__()), b"datum")

    async def test_a_broken_connection_raises_in_the_reader(self):
        _, other, left, right = await self.pair()
        waiting = asyncio.ensure_future(left.read())
        await asyncio.sleep(0)
        right.destroy()
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await soon(waiting)
        self.assertEqual(raised.exception.name, "ECONNRESET")
        self.assertIn(raised.exception.code, range(-399, -300))
        await soon(right.wait_closed())
        del other

    async def test_topics_peers_numbers(self):
        one, other, left, right = await self.pair()
        topic = hyperswarm.topic("a pair")
        await other.join(hyperswarm.topic("second"), server=False, limit=3)
        first, second = await other.topics()
        self.assertEqual((first.topic, first.is_client, first.is_server, first.connections), (topic, True, False, 1))
        self.assertEqual((second.limit, second.peers), (3, 0))
        await one.refresh(topic)
        peer, = await other.peers()
        self.assertEqual(peer.public_key, one.public_key)
        self.assertEqual((peer.topics, peer.state["is_connected"]), ((topic,), 1))
        self.assertTrue(all(it.startswith("127.0.0.1:") for it in peer.relay_addresses))
        numbers = await other.statistics()
        self.assertEqual((numbers["client_connections"], numbers["is_online"], numbers["topics"]), (1, 1, 2))
        self.assertEqual(numbers["local_address"], f"127.0.0.1:{other.port}")
        self.assertIn("hyperswarm_", await other.metrics())
        for side in (left, right):
            self.assertIn("\n", await side.timeline())
        self.assertTrue((await right.statistics())["remote_address"].startswith("127.0.0.1:"))
        await other.clear()
        self.assertEqual(await other.topics(), [])
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await other.refresh(topic)
        self.assertEqual(raised.exception.name, "SESSION_DESTROYED")

    async def test_events_and_log(self):
        lines = []
        logger = logging.Logger("test", logging.DEBUG)
        handler = logging.Handler()
        handler.emit = lambda record: lines.append((record.levelno, record.getMessage()))
        logger.addHandler(handler)
        watched = await self.swarm(logger=logger)
        events = watched.events()
        other = await self.swarm()
        await other.listen()
        watched.join_peer(other.public_key)
        connection = await soon(anext_of(watched.connections))
        kinds = set()
        while "dial-opened" not in kinds:
            event = await soon(anext_of(events))
            kinds.add(event.kind)
            if event.kind.startswith("dial"):
                self.assertEqual(event.public_key, other.public_key)
        self.assertTrue({"online", "dial-started", "dial-opened"} <= kinds)
        self.assertIn((logging.INFO, "network: it answers"), lines)
        connection.destroy()

    async def test_a_firewall_answers_now_or_later(self):
        asked = []

        async def later(public_key, address):
            asked.append((public_key, address))
            await asyncio.sleep(0.1)
            return True

        one, other, left, _ = await self.pair(firewall=later)
        self.assertEqual(asked[0][0], other.public_key)
        self.assertTrue(asked[0][1].startswith("127.0.0.1:"))
        self.assertEqual(left.remote_public_key, other.public_key)
        third = await self.swarm()
        server = await one.serve(key_pair=hyperswarm.KeyPair.generate(), firewall=lambda key, address: False)
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await third.connect(server.public_key, deadline=3)
        self.assertIn(raised.exception.name, ("PEER_CONNECTION_FAILED", "CONNECT_TIMEOUT"))
        await server.close()

    async def test_servers(self):
        home, away = await self.swarm(), await self.swarm()
        pair = hyperswarm.KeyPair.from_seed(bytes(32))
        async with await home.serve(key_pair=pair) as server:
            self.assertEqual(server.public_key, pair.public_key)
            addresses = await server.relay_addresses()
            self.assertTrue(addresses and all(it.startswith("127.0.0.1:") for it in addresses))
            with self.assertRaises(hyperswarm.HyperswarmError) as raised:
                await home.serve(key_pair=pair)
            self.assertEqual(raised.exception.name, "KEYPAIR_ALREADY_USED")
            async with await soon(away.connect(pair.public_key, relay_addresses=addresses)) as connection:
                await connection.write("question")
                accepted = await soon(anext_of(server.connections))
                async for message in accepted:
                    await accepted.write(b"answer to " + message)
                    accepted.end()
                    break
                self.assertEqual([it async for it in connection], [b"answer to question"])
            server.set_busy(True)
            with self.assertRaises(hyperswarm.HyperswarmError) as raised:
                await soon(away.connect(pair.public_key))
            self.assertEqual(raised.exception.name, "SERVER_ERROR")
        self.assertEqual([it async for it in server.connections], [])

    async def test_cancelled_calls_leave_nothing(self):
        lost = await self.swarm(bootstrap="127.0.0.1:9")
        key = hyperswarm.topic("nothing")

        async def search():
            return [it async for it in lost.lookup(key)]

        calls = [
            lost.join(key), lost.flush(), lost.bootstrapped(), lost.announce(key), search(), lost.connect(key),
            lost.immutable_get(key), lost.ping("127.0.0.1:9"), lost.find_node(key),
            lost.serve(key_pair=hyperswarm.KeyPair.generate())]
        tasks = [asyncio.ensure_future(it) for it in calls]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        results = await soon(asyncio.gather(*tasks, return_exceptions=True))
        for result in results:
            self.assertIsInstance(result, asyncio.CancelledError)

    async def test_suspended_swarms_come_back(self):
        one, other, left, right = await self.pair()
        await other.suspend()
        await soon(left.wait_closed())
        await other.resume()
        again = await soon(anext_of(one.connections))
        self.assertEqual(again.remote_public_key, other.public_key)
        del right

    async def test_connections_end_with_the_swarm(self):
        one, _, left, _ = await self.pair()
        reader = asyncio.ensure_future(anext_of(one.connections))
        await asyncio.sleep(0)
        await one.destroy()
        with self.assertRaises(StopAsyncIteration):
            await soon(reader)
        self.assertTrue(left.is_closed)
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await one.join(hyperswarm.topic("too late"))
        self.assertEqual(raised.exception.name, "BAD_HANDLE")


class LoopTests(unittest.TestCase):
    def test_several_loops_one_after_the_other(self):
        async def once():
            async with hyperswarm.Testnet(2) as network:
                async with hyperswarm.Swarm(bootstrap=network.bootstrap, host="127.0.0.1") as swarm:
                    await swarm.bootstrapped()
        for _ in range(3):
            asyncio.run(once())
        self.assertEqual(hyperswarm.handle_count(), 0)

    def test_what_is_late_does_not_reach_the_next_pump(self):
        async def once():
            ended = Pump.take()
            ended.drop()
            while Pump._all:
                await asyncio.sleep(0)
            current = Pump.take()
            ended.touch()  # as a firewall does that answers after its swarm has gone
            await asyncio.sleep(0.02)
            self.assertIs(Pump.take(), current)
            async with hyperswarm.Testnet(2) as network:
                async with hyperswarm.Swarm(bootstrap=network.bootstrap, host="127.0.0.1") as swarm:
                    await soon(swarm.bootstrapped())
            current.drop()
            current.drop()
            while Pump._all:
                await asyncio.sleep(0)
        asyncio.run(once())
        self.assertEqual(hyperswarm.handle_count(), 0)

    def test_a_failure_to_make_one_leaves_nothing(self):
        async def once():
            with self.assertRaises(hyperswarm.HyperswarmError) as raised:
                hyperswarm.Swarm(bootstrap="", host="nonsense")
            self.assertEqual(raised.exception.name, "INVALID_ADDRESS")
            await asyncio.sleep(0.02)
        asyncio.run(once())
        self.assertEqual(hyperswarm.handle_count(), 0)


if __name__ == "__main__":
    unittest.main()
