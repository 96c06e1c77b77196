"""Values, announcements, nodes, keys."""

import unittest

import hyperswarm
from support import NetworkCase, soon


class RecordTests(NetworkCase):
    nodes = 6

    async def test_values(self):
        one, other = await self.swarm(), await self.swarm()
        put = await soon(one.immutable_put(b"a value"))
        self.assertEqual((put.key, put.stored > 0), (hyperswarm.hash(b"a value"), True))
        self.assertEqual((await soon(other.immutable_get(put.key))).data, b"a value")
        self.assertIsNone(await soon(other.immutable_get(bytes(32))))
        await soon(one.mutable_put(b"", sequence=4))
        await soon(one.mutable_put(b"newer", sequence=5))
        value = await soon(other.mutable_get(one.public_key))
        self.assertEqual((value.data, value.sequence, len(value.signature)), (b"newer", 5, 64))
        self.assertIsNone(await soon(other.mutable_get(one.public_key, sequence=6)))
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await soon(one.mutable_put(b"older", sequence=3))
        self.assertEqual(raised.exception.name, "SEQ_TOO_LOW")
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await one.immutable_put(bytes(hyperswarm.MAX_VALUE + 1))
        self.assertEqual(raised.exception.name, "VALUE_TOO_LARGE")

    async def test_announcements(self):
        one, other = await self.swarm(), await self.swarm()
        topic, pair = hyperswarm.topic("announced"), hyperswarm.KeyPair.generate()
        await soon(one.announce(topic, pair, relay_addresses=["127.0.0.1:4001", "127.0.0.1:4002"]))
        found = [record async for record in other.lookup(topic)]
        self.assertEqual({record.public_key for record in found}, {pair.public_key})
        self.assertEqual(found[0].relay_addresses, ["127.0.0.1:4001", "127.0.0.1:4002"])
        async for record in other.lookup(topic):
            self.assertTrue(record.from_address)
            break  # ends the search
        await soon(one.unannounce(topic, pair))
        self.assertEqual([record async for record in other.lookup(topic)], [])
        await one.listen()
        holders = [record async for record in other.find_peer(one.public_key)]
        self.assertTrue(holders and all(record.public_key == one.public_key for record in holders))

    async def test_nodes(self):
        swarm = await self.swarm()
        await swarm.bootstrapped()
        entrance = self.network.bootstrap.split(",", maxsplit=1)[0]
        pong = await soon(swarm.ping(entrance))
        self.assertEqual(pong.address, entrance)
        nodes = await soon(swarm.find_node(bytes(32)))
        self.assertGreaterEqual(len(nodes), 5)
        swarm.add_node(nodes[0].address)
        for wrong in ("", "name:1", "1.2.3.4"):
            with self.assertRaises(hyperswarm.HyperswarmError):
                await swarm.ping(wrong)


class KeyTests(unittest.TestCase):
    def test_texts(self):
        pair = hyperswarm.KeyPair.from_seed(bytes(32))
        self.assertTrue(pair.public_key.hex().startswith("3b6a27bc"))
        for text in (hyperswarm.to_hex(pair.public_key), hyperswarm.to_zbase32(pair.public_key)):
            self.assertEqual(hyperswarm.parse_key(text), pair.public_key)
            self.assertEqual(hyperswarm.parse_key(f"pear://{text}/path"), pair.public_key)
        self.assertEqual(hyperswarm.hash(bytearray(b"name")), hyperswarm.topic("name"))
        self.assertNotIn(pair.secret_key.hex()[:32], repr(pair))
        with self.assertRaises(hyperswarm.HyperswarmError):
            hyperswarm.parse_key("nonsense")
        for wrong in (b"", bytes(31), bytes(33)):
            with self.assertRaises(ValueError):
                hyperswarm.to_zbase32(wrong)
            with self.assertRaises(ValueError):
                hyperswarm.KeyPair.from_seed(wrong)


if __name__ == "__main__":
    unittest.main()
