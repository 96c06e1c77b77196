"""Programs that do what they should not: they are told, and nothing is left behind."""

import asyncio
import gc
import os
import pickle
import threading
import unittest
import warnings
from array import array

import hyperswarm
from hyperswarm import _pump
from hyperswarm._pump import Pump
from support import NetworkCase, soon

KEY = bytes(range(32))


class ArgumentTests(NetworkCase):
    nodes = 2

    async def test_numbers_are_not_cut_to_what_fits(self):
        swarm = await self.swarm()
        before = len(_pump._targets)
        for call in (
                lambda: hyperswarm.Swarm(bootstrap="", port=70000),
                lambda: hyperswarm.Swarm(bootstrap="", max_peers=-1),
                lambda: swarm.mutable_put(b"value", sequence=-1), lambda: swarm.mutable_get(KEY, sequence=1 << 64),
                lambda: swarm.connect(KEY, deadline=1e10), lambda: swarm.flush(1e30),
                lambda: hyperswarm.Testnet(-1),
                lambda: swarm.serve(relay=True, relay_limits={"clients": -1})):
            with self.assertRaises(OverflowError):
                await call()
        with self.assertRaises(TypeError):
            await swarm.serve(relay=True, relay_limits={"client": 3})
        self.assertEqual(len(_pump._targets), before)

    async def test_what_is_not_bytes_is_refused(self):
        swarm = await self.swarm()
        before = len(_pump._targets)
        for call in (
                lambda: swarm.join_peer(32), lambda: swarm.join("a room"), lambda: swarm.immutable_put(8),
                lambda: swarm.serve(key_pair=hyperswarm.KeyPair(KEY, 64)), lambda: hyperswarm.hash(4),
                lambda: hyperswarm.KeyPair.from_seed(32), lambda: hyperswarm.to_zbase32("text")):
            with self.assertRaises(TypeError):
                await call()
        with self.assertRaises(ValueError):
            await swarm.join(KEY[1:])
        self.assertEqual(len(_pump._targets), before)
        self.assertEqual(hyperswarm.hash(array("i", [1, 2])), hyperswarm.hash(array("i", [1, 2]).tobytes()))

    async def test_what_is_like_bytes_is_sent_whole(self):
        _, _, left, right = await self.pair()
        numbers = array("i", range(8))
        for message in (memoryview(numbers), bytearray(b"four"), memoryview(b"striped")[::2]):
            await left.write(message, acknowledged=True)
            self.assertEqual(await soon(right.read()), bytes(message))
        await right.write(b"proof", acknowledged=True)
        for _ in range(20):
            right.send_datagram(memoryview(numbers))
            await asyncio.sleep(0.01)
        self.assertEqual(await soon(left.datagrams().__anext__()), numbers.tobytes())
        with self.assertRaises(TypeError):
            await left.write(5)

    async def test_errors_can_be_pickled(self):
        swarm = await self.swarm()
        await swarm.destroy()
        with self.assertRaises(hyperswarm.HyperswarmError) as raised:
            await swarm.join(KEY)
        again = pickle.loads(pickle.dumps(raised.exception))
        self.assertEqual((again.code, again.name, str(again)), (-4, "BAD_HANDLE", str(raised.exception)))


class EndTests(NetworkCase):
    nodes = 2

    async def test_the_end_goes_on_without_those_who_wait(self):
        swarm = await self.swarm()
        await swarm.join(KEY, client=False)
        events = swarm.events()
        waiting = [asyncio.ensure_future(swarm.destroy()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await soon(waiting[1])
        await soon(swarm.destroy())
        self.assertEqual([it async for it in swarm.connections], [])
        self.assertIsInstance([it async for it in events], list)
        self.assertEqual([it async for it in swarm.events()], [])
        self.assertNotIn(swarm, _pump._targets.values())

    async def test_feeds_that_nobody_reads_are_dropped(self):
        swarm = await self.swarm()
        for _ in range(10):
            swarm.events()
        gc.collect()
        self.assertEqual(len(swarm._events), 0)

    async def test_a_firewall_that_raises_refuses(self):
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def fail(_key, _address):
            raise asyncio.CancelledError("not this one")

        home, away = await self.swarm(), await self.swarm()
        server = await home.serve(firewall=fail)
        with self.assertRaises(hyperswarm.HyperswarmError):
            await away.connect(server.public_key, deadline=1)
        self.assertIsInstance(reported[0], asyncio.CancelledError)

    async def test_other_threads_are_told(self):
        swarm = await self.swarm()
        raised = []

        def call():
            try:
                swarm.join_peer(KEY)
            except hyperswarm.HyperswarmError as error:
                raised.append(error.name)

        thread = threading.Thread(target=call)
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        self.assertEqual(raised, ["WRONG_THREAD"])


class ProcessTests(unittest.TestCase):
    def tearDown(self):
        self.assertEqual(hyperswarm.handle_count(), 0)

    def test_without_a_loop(self):
        before = len(_pump._targets)
        with self.assertRaises(RuntimeError):
            hyperswarm.Swarm(bootstrap="")
        self.assertEqual(len(_pump._targets), before)

    def test_an_interrupt_in_a_callback_ends_the_program(self):
        async def main():
            async with hyperswarm.Testnet(2) as network:
                options = {"bootstrap": network.bootstrap, "host": "127.0.0.1"}

                def interrupt(_key, _address):
                    raise SystemExit(5)

                async with hyperswarm.Swarm(firewall=interrupt, **options) as home, hyperswarm.Swarm(**options) as away:
                    await home.listen()
                    await away.connect(home.public_key, deadline=20)

        with self.assertRaises(SystemExit) as raised:
            asyncio.run(main())
        self.assertEqual(raised.exception.code, 5)

    def test_a_loop_that_is_closed_too_early_is_reported(self):
        # In a child: what is left on such a loop stays until the process ends.
        child = os.fork()
        if child == 0:
            try:
                async def forget():
                    hyperswarm.Swarm(bootstrap="", host="127.0.0.1")
                asyncio.run(forget())

                async def go_on():
                    with warnings.catch_warnings(record=True) as said:
                        warnings.simplefilter("always")
                        async with hyperswarm.Swarm(bootstrap="", host="127.0.0.1"):
                            return [it.category for it in said]
                os._exit(0 if ResourceWarning in asyncio.run(go_on()) else 1)
            finally:
                os._exit(2)
        self.assertEqual(os.WEXITSTATUS(os.waitpid(child, 0)[1]), 0)

    def test_a_child_of_a_fork_is_told(self):
        async def main():
            async with hyperswarm.Swarm(bootstrap="", host="127.0.0.1") as swarm:
                child = os.fork()
                if child == 0:
                    try:
                        swarm.join_peer(KEY)
                    except hyperswarm.HyperswarmError as error:
                        os._exit(0 if error.name == "FORKED" else 1)
                    finally:
                        os._exit(2)
                self.assertEqual(os.WEXITSTATUS(os.waitpid(child, 0)[1]), 0)
        asyncio.run(main())

    def test_loops_on_several_threads(self):
        async def meet():
            async with hyperswarm.Testnet(2) as network:
                options = {"bootstrap": network.bootstrap, "host": "127.0.0.1"}
                async with hyperswarm.Swarm(**options) as home, hyperswarm.Swarm(**options) as away:
                    await home.listen()
                    async with await soon(away.connect(home.public_key)) as connection:
                        await connection.write(b"hello")
                        accepted = await soon(home.connections.__anext__())
                        return await soon(accepted.read())

        said = []
        threads = [threading.Thread(target=lambda: said.append(asyncio.run(meet()))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(said, [b"hello"] * 3)


if __name__ == "__main__":
    unittest.main()
