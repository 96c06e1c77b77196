"""The nftables rules of the lab."""

SETS = ("contacted", "mapped", "pairs")
OUT = 'oifname "eth0"'

# How the source address and port are replaced on the way out.
LEAVING = {"sym": f"{OUT} masquerade fully-random"}
# What the box does with a datagram from the outside that is no answer. full: a port that an inside socket has used is
# open to every address. addr: to the addresses that this socket has sent to. host: every port is open to addresses that
# were contacted, which looks like no NAT at all to a test that asks one node.
ARRIVING = {
    "full": 'iifname "eth0" udp dport @mapped dnat to {inner}',
    "addr": 'iifname "eth0" ip saddr . udp dport @pairs dnat to {inner}',
    "host": 'iifname "eth0" ip saddr @contacted meta l4proto udp dnat to {inner}',
}
REMEMBERING = {
    "full": 'iifname "in0" update @mapped { udp sport }',
    "addr": 'iifname "in0" update @pairs { ip daddr . udp sport }',
    "host": 'iifname "in0" update @contacted { ip daddr }',
}
KINDS = ("port", "sym", "short", *ARRIVING)


def nat(kind, address, inner):
    """port: keeps the port, admits answers. sym: another port for every destination. short: mappings of 10 and 15 s."""
    assert kind in KINDS, kind
    return f"""
table ip nat {{
  set contacted {{ type ipv4_addr; timeout 2m; flags dynamic; size 65536; }}
  set mapped {{ type inet_service; timeout 2m; flags dynamic; size 65536; }}
  set pairs {{ type ipv4_addr . inet_service; timeout 2m; flags dynamic; size 65536; }}
  chain arriving {{
    type nat hook prerouting priority -100;
    {ARRIVING.get(kind, "").format(inner=inner)}
  }}
  chain leaving {{
    type nat hook postrouting priority 100;
    {LEAVING.get(kind, f"{OUT} masquerade")}
  }}
  chain passing {{
    type filter hook forward priority 0; policy drop;
    {REMEMBERING.get(kind, "")}
    iifname "in0" accept
    ct state established,related accept
    ct status dnat accept
  }}
  chain received {{
    type filter hook input priority 0; policy accept;
    meta l4proto udp ct state new drop
  }}
}}
"""


# A host that admits only answers.
FIREWALL = """
table ip firewall {
  chain arriving {
    type filter hook input priority 0; policy accept;
    iifname "eth0" meta l4proto udp ct state new drop
  }
}
"""
# A host that admits every port of addresses that it has sent to.
FIREWALL_BY_HOST = """
table ip firewall {
  set contacted { type ipv4_addr; timeout 2m; flags dynamic; size 65536; }
  chain leaving {
    type filter hook output priority 0; policy accept;
    oifname "eth0" meta l4proto udp update @contacted { ip daddr }
  }
  chain arriving {
    type filter hook input priority 0; policy accept;
    iifname "eth0" meta l4proto udp ip saddr != @contacted drop
  }
}
"""
HOLE = """
table ip hole {
  chain passing {
    type filter hook forward priority -5;
    meta l4proto udp drop
  }
  chain leaving {
    type filter hook output priority -5;
    oifname "eth0" meta l4proto udp drop
  }
  chain arriving {
    type filter hook input priority -5;
    iifname "eth0" meta l4proto udp drop
  }
}
"""
def one_way(direction, verdict):
    """All that comes in, goes out or, on a router, passes."""
    hook, device = {"in": ("input", 'iifname "eth0"'), "out": ("output", 'oifname "eth0"'),
                    "through": ("forward", "")}[direction]
    return f"""
table ip oneway {{
  chain c {{
    type filter hook {hook} priority -5;
    {device} meta l4proto udp {verdict}
  }}
}}
"""


NO_ICMP = """
table ip silent {
  chain leaving {
    type filter hook output priority 0;
    ip protocol icmp drop
  }
}
"""
# The first of a server's self-tests of its local addresses: datagrams of one byte.
NO_SELF_TEST = """
table ip selftest {
  chain arriving {
    type filter hook input priority 0;
    udp length 9 counter drop
  }
}
"""


def short_lived(is_direct):
    """Packets that are meant to open a NAT and then to die do so in the core."""
    first = "" if is_direct else 'iifname != "tun0" '
    return f"""
table ip hops {{
  chain passing {{
    type filter hook forward priority -20;
    {first}ip ttl < 8 drop
  }}
}}
"""


def loss(percent, interface):
    where = f'iifname "{interface}" ' if interface else ""
    return f"""
table ip loss {{
  chain passing {{
    type filter hook forward priority -15;
    {where}numgen random mod 1000 < {int(percent * 10)} drop
  }}
}}
"""
