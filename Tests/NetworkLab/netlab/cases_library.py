"""What only a program that uses the library can do: client.c."""

import re
import time

from . import rules
from .exchange import exchange, key_of
from .table import case, percentile, result, seconds
from .world import BOOTSTRAP, World

LIBRARY = ("library",)


@case("foreign-changes", "50 topics: <= 100 datagrams a change more than an undisturbed member", needs=LIBRARY,
      seconds=100)
def foreign_changes(settings):
    """An interface that has nothing to do with us gets and loses an address every 6 s."""
    with World(settings) as world:
        hosts = [world.site("s", "port").host, world.site("c", "port").host]
        world.ip(hosts[0], "link add other type veth peer name end")
        for device in ("other", "end"):
            world.ip(hosts[0], f"link set {device} up")
        for number, host in enumerate(hosts):
            process = world.program(host, [settings.library, "topics", BOOTSTRAP, "50", str(number)],
                                    lines_of_stdout=True)
            if not process.line("all joined", 60)[1]:
                return result("not joined", False)
        time.sleep(20)
        captures = [world.capture(host) for host in hosts]
        begin, changes = time.monotonic(), 8
        for number in range(changes):
            world.ip(hosts[0], f"addr {'add' if number % 2 == 0 else 'del'} 172.31.0.1/16 dev other")
            time.sleep(6)
        disturbed, quiet = [capture.count(begin, time.monotonic()) for capture in captures]
        return result(f"{disturbed} datagrams with {changes} changes in 48 s, {quiet} without",
                      disturbed <= quiet + 100 * changes, disturbed=disturbed, quiet=quiet)


@case("self-test-lost", "a dial <= 30 s after the loss reaches the server's local address", seconds=60)
def self_test_lost(settings):
    """Two hosts behind a box that does not lead its own address back: only the local address connects them."""
    with World(settings) as world:
        server_host, client_host = world.neighbours()
        world.nft(server_host, rules.NO_SELF_TEST)
        server, key = world.listen(server_host)
        first = world.start(client_host, "connect", key, stdin=-1)
        line = first.line("connected with|^hyperswarm", 20)[1]
        first.kill()
        world.remove_table(server_host, "selftest")
        since = time.monotonic()
        while server.alive and time.monotonic() - since < 45:
            client = world.start(client_host, "connect", key, stdin=-1)
            moment, second = client.line("connected with|^hyperswarm", 20)
            client.kill()
            if second and "connected" in second:
                text = f"with the loss: {'connected' if line and 'connected' in line else 'refused'}; "
                return result(text + f"connected {seconds(moment - since)} after it", moment - since <= 30)
            time.sleep(1)
        if not server.alive:
            return result("connected in spite of the loss", True)
        return result("the local address was never named again", False)


@case("fork", "a child gets an error code from what it inherits and can make swarms; the parent goes on", needs=LIBRARY,
      quick=True, seconds=20)
def forks(settings):
    with World(settings) as world:
        host = world.site("s", "pub").host
        process = world.program(host, [settings.library, "fork", BOOTSTRAP], lines_of_stdout=True)
        end = process.end(60)
        text = process.text(1000)
        wanted = ("child join FORKED", "child destroy FORKED", "child create OK", "child destroys its own OK",
                  "step 3 ends with 0", "parent join OK", "parent destroy OK")
        missing = [line for line in wanted if line.replace("FORKED", "") not in text]
        forked = len(re.findall(r"child (?:join|destroy) \S*FORKED", text)) == 2
        return result("as wanted" if not missing and forked else f"missing: {missing} in {text[-300:]}",
                      end is not None and not missing and forked and "stuck" not in text)


def together(settings, count, order):
    with World(settings, distance=1) as world:
        process = world.program(world.site("s", "pub").host,
                                [settings.library, "together", BOOTSTRAP, str(count), order], lines_of_stdout=True)
        process.end(120)
        text = process.text(1000)
        opened, last = re.search(r"opened (\d+)", text), re.search(r"closed (\d+) last ([\d.]+)", text)
        handles = re.search(r"handles (\d+)", text)
        if not (opened and last and handles):
            return result(text, False)
        ok = int(opened[1]) == count == int(last[1]) and float(last[2]) <= 1 and handles[1] == "0"
        return result(f"{opened[1]} opened, {last[1]} closed, the last {last[2]} s after it, {handles[1]} handles left",
                      ok, last=float(last[2]))


for ORDER in ("server", "client"):
    case(f"destroy-20-{ORDER}-first", "every peer knows <= 1 s, no handle is left", needs=LIBRARY, quick=True,
         seconds=15)(
        lambda settings, order=ORDER: together(settings, 20, order))
case("destroy-1000-server-first", "every peer knows <= 1 s, no handle is left", needs=LIBRARY, seconds=60)(
    lambda settings: together(settings, 1000, "server"))

case("destroy-150-windows-closed", "half of the peers do not read: every peer knows <= 1 s, no handle is left",
     needs=LIBRARY, seconds=40)(lambda settings: together(settings, 150, "windows"))


@case("destroy-500-swarms", "450 of 500 swarms in one turn: every peer knows after <= 1 s of work, all are destroyed "
      "after <= 1 s of work, no handle is left", needs=LIBRARY, seconds=60)
def many_swarms(settings):
    """50 topics of ten members each on one loop; one member of each topic stays. A swarm withdraws its announcements
    before it is destroyed, from the few nodes of this network all at once, and gives that up after a second. The work
    is CPU time of the process: on a busy machine the rest is waiting for a processor. What the nodes still hold of the
    destroyed swarms is what they were too busy for in that second."""
    with World(settings, distance=0, network=0) as world:
        host = world.site("s", "pub").host
        # On loopback: nodes do not count what a host asks there.
        network = world.start(host, "testnet", "--size", "20", "--port", "49736", bootstrap=None, lines_of_stdout=True)
        if not network.line("127.0.0.1:49736", 30)[1]:
            return result("no test network: " + network.text(), False)
        process = world.program(host, [settings.library, "swarms", "127.0.0.1:49736", "500"], lines_of_stdout=True)
        process.end(240)
        text = process.text(1000)
        held = re.search(r"ends (\d+) of (\d+) held (\d+)", text)
        told = re.search(r"told (\d+) .*last ([\d.]+) cpu ([\d.]+)", text)
        destroyed = re.search(r"destroyed (\d+) last ([\d.]+) cpu ([\d.]+)", text)
        handles, stale = re.search(r"handles (\d+)", text), re.search(r"records (\d+) stale (\d+)", text)
        if not (held and told and destroyed and handles and stale):
            return result(text, False)
        ok = (int(held[1]) >= int(held[2]) and int(told[1]) >= int(held[3]) and float(told[3]) <= 1
              and int(destroyed[1]) == 450 and float(destroyed[3]) <= 1 and handles[1] == "0")
        return result(f"{told[1]} of {held[3]} told after {told[3]} s of work ({told[2]} s), {destroyed[1]} destroyed "
                      f"after {destroyed[3]} s of work ({destroyed[2]} s), {stale[2]} of 9000 records and "
                      f"{handles[1]} handles left", ok, told=float(told[3]), destroyed=float(destroyed[3]))


def cold_dials(settings, count, percent, kind="pub", share=1.0):
    with World(settings) as world:
        host, client_host = world.site("s", kind).host, world.site("c", "port").host
        process = world.program(host, [settings.library, "accept", BOOTSTRAP], lines_of_stdout=True)
        key = key_of(process)
        world.loss(percent)
        times = []
        for _ in range(count):
            client = world.start(client_host, "connect", key)
            moment, line = client.line("connected with|^hyperswarm", 40)
            times.append(moment - client.began if line and "connected" in line else None)
            client.end(5)
            client.kill()
        connected = sum(value is not None for value in times)
        text = f"{connected} of {count}, p50 {seconds(percentile(times, 0.5))}, max {seconds(percentile(times, 1))}"
        return result(text, connected >= share * count, times=times)


case("cold-dials", "all connect", needs=LIBRARY, seconds=30)(lambda settings: cold_dials(settings, 30, 0))
case("cold-dials-loss-20", "all connect", needs=LIBRARY, seconds=60)(lambda settings: cold_dials(settings, 20, 20))
case("cold-dials-loss-20-nat", "8 of 10 connect: a punch takes many packets", needs=LIBRARY, seconds=110)(
    lambda settings: cold_dials(settings, 20, 20, "port", 0.8))


@case("blocked-loop", "a callback of 4 s, a timeout of 3 s, a live peer: the connection stays in 6 of 6", needs=LIBRARY,
      quick=True, seconds=20)
def blocked_loop(settings):
    with World(settings, distance=1) as world:
        host = world.site("s", "pub").host
        key = key_of(world.program(host, [settings.library, "alive", BOOTSTRAP], lines_of_stdout=True))
        clients = []
        for _ in range(6):
            clients.append(world.program(host, [settings.library, "sleep", BOOTSTRAP, key, "4"], lines_of_stdout=True))
            time.sleep(0.17)
        time.sleep(13)
        went_on = sum(any("goes on" in line for _, line in client.lines) for client in clients)
        ended = sum(any(line.startswith("close") for _, line in client.lines) for client in clients)
        return result(f"{went_on} blocked, {ended} of {len(clients)} ended", went_on == len(clients) and ended == 0,
                      ended=ended)
