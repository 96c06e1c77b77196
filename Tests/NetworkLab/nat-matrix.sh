#!/bin/bash
# Connects two `hyperswarm` processes through real kernel NATs, in all pairs of two kinds, and moves 3 MB each time:
#
#   cone     one outside port per inside socket (masquerade), only answers come in
#   random   another outside port for every destination (masquerade fully-random), only answers come in
#
# Everything happens in network namespaces that are made and removed here. Needs root, `ip` and `nft`.
#
#   Tests/NetworkLab/nat-matrix.sh [path of the hyperswarm tool]
#
# Expected: three pairs get through, random/random is refused with a reason, and gets through over a blind relay. Exit
# code 0 if so, 77 where it cannot run.
set -u
tool=$(realpath "${1:-.build/debug/hyperswarm}")
if [ "$(id -u)" != 0 ] || ! command -v ip nft >/dev/null || [ ! -x "$tool" ]; then
  echo "skipped: needs root, ip, nft and $tool"
  exit 77
fi
prefix="hsl$$"
work=$(mktemp -d)
processes=""

remove() {
  for process in $processes; do kill "$process" 2>/dev/null; done
  processes=""
  for name in core pub natA natB siteA siteB; do ip netns del "$prefix$name" 2>/dev/null; done
}
trap 'remove; rm -rf "$work"' EXIT

# A namespace on the "internet", a bridge in the namespace core.
join() { # name address
  ip link add "$prefix$1" netns "${prefix}core" type veth peer name eth0 netns "$prefix$1"
  ip -n "${prefix}core" link set "$prefix$1" master br0 up
  ip -n "$prefix$1" addr add "$2/24" dev eth0
  ip -n "$prefix$1" link set eth0 up
}

# A site behind a NAT box: refuses what is not an answer.
site() { # letter subnet kind
  local nat="${prefix}nat$1" host="${prefix}site$1" rule="masquerade"
  [ "$3" = random ] && rule="masquerade fully-random"
  ip link add in0 netns "$nat" type veth peer name eth0 netns "$host"
  ip -n "$nat" addr add "192.168.$2.1/24" dev in0
  ip -n "$nat" link set in0 up
  ip -n "$host" addr add "192.168.$2.10/24" dev eth0
  ip -n "$host" link set eth0 up
  ip -n "$host" route add default via "192.168.$2.1"
  ip netns exec "$nat" sysctl -qw net.ipv4.ip_forward=1
  ip netns exec "$nat" nft -f - <<RULES
table ip nat {
  chain leaving {
    type nat hook postrouting priority 100;
    oifname "eth0" $rule
  }
}
table ip filter {
  chain passing {
    type filter hook forward priority 0; policy drop;
    iifname "in0" accept
    ct state established,related accept
  }
  chain arriving {
    type filter hook input priority 0; policy accept;
    iifname "eth0" ct state new drop
  }
}
RULES
}

wait_for() { # pattern file seconds
  for _ in $(seq $(($3 * 5))); do
    grep -qE "$1" "$2" 2>/dev/null && return 0
    sleep 0.2
  done
  return 1
}

pair() { # kind of the server's NAT, kind of the client's NAT, what is expected, "relay" for one that the client names
  for name in core pub natA natB siteA siteB; do
    ip netns add "$prefix$name"
    ip -n "$prefix$name" link set lo up
  done
  ip -n "${prefix}core" link add br0 type bridge
  ip -n "${prefix}core" link set br0 up
  join pub 5.0.0.1
  join natA 5.0.0.2
  join natB 5.0.0.3
  site A 1 "$1"
  site B 2 "$2"
  rm -f "$work"/*
  head -c 3000000 /dev/urandom > "$work/data"
  ip netns exec "${prefix}pub" "$tool" testnet --size 8 --host 5.0.0.1 --port 49737 > "$work/net" 2>&1 &
  processes="$processes $!"
  wait_for 5.0.0.1 "$work/net" 20
  ip netns exec "${prefix}siteA" "$tool" listen --bootstrap 5.0.0.1:49737 \
    > "$work/received" 2> "$work/server" < <(sleep 120) &
  processes="$processes $!"
  wait_for '[0-9a-f]{64}' "$work/server" 20
  local key
  key=$(grep -oE '[0-9a-f]{64}' "$work/server" | head -1)
  local relay=()
  if [ "${4:-}" = relay ]; then
    ip netns exec "${prefix}pub" "$tool" relay --bootstrap 5.0.0.1:49737 > "$work/relay" 2>&1 &
    processes="$processes $!"
    wait_for '[0-9a-f]{64}' "$work/relay" 20
    relay=(--relay "$(grep -oE '[0-9a-f]{64}' "$work/relay" | head -1)")
  fi
  local begin
  begin=$(date +%s%N)
  ip netns exec "${prefix}siteB" "$tool" connect --bootstrap 5.0.0.1:49737 "${relay[@]}" "$key" \
    > /dev/null 2> "$work/client" < <(cat "$work/data"; sleep 60) &
  processes="$processes $!"
  # After a second it says that it is still trying.
  wait_for '^connected|[A-Z]+(_[A-Z]+)+' "$work/client" 70
  local elapsed=$((($(date +%s%N) - begin) / 1000000)) outcome
  if grep -q '^connected' "$work/client"; then
    outcome=connected
    for _ in $(seq 50); do
      cmp -s "$work/data" "$work/received" && break
      sleep 0.2
    done
    cmp -s "$work/data" "$work/received" || outcome="connected, but the data did not arrive"
  else
    outcome=$(grep -oE '[A-Z]+(_[A-Z]+)+' "$work/client" | head -1)
  fi
  local verdict=ok
  [[ "$outcome" =~ ^($3)$ ]] || verdict="FAILED, expected $3"
  echo "$1 / $2${4:+, $4}: $outcome after $elapsed ms: $verdict"
  [ "$verdict" = ok ] || failures=$((failures + 1))
  remove
}

failures=0
pair cone cone connected
pair cone random connected
pair random cone connected
# Whichever side finds out first.
pair random random "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS|REMOTE_ABORTED"
pair random random connected relay
echo "$failures of 5 pairs failed"
[ "$failures" = 0 ]
