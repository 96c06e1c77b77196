#!/usr/bin/env bash
# Scripts/setup with package managers that only write down what they were asked for.
# A locale that the machine does not have makes every shell complain.
export LC_ALL=C
set -uo pipefail
setup=$(cd "$(dirname "$0")/../.." && pwd)/Scripts/setup
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

check() { # name, what came, pattern that it has to match as a whole
  # shellcheck disable=SC2053 # a pattern on purpose
  if [[ $2 == $3 ]]; then
    echo "ok setup $1"
  else
    echo "FAILED setup $1: expected '$3', got '$2'"
    failures=$((failures + 1))
  fi
}

program() { # name, body
  printf '#!/bin/bash\n%s\n' "$2" >"$bin/$1"
  chmod +x "$bin/$1"
}

# A machine with a Swift toolchain and little else. Package managers make everything appear.
machine() { # user id, package managers...
  local id=$1 name
  shift
  bin=$work/bin
  log=$work/log
  rm -rf "$bin"
  mkdir -p "$bin"
  : >"$log"
  for name in bash sort sed head tail env cat chmod dirname touch; do
    ln -s "$(command -v "$name")" "$bin/$name"
  done
  program swift 'echo "Swift version 6.3.1"'
  program id "echo $id"
  for name in "$@"; do
    program "$name" "echo \"$name \$*\" >>'$log'
      case \" \$* \" in *' install '* | *' add '* | *' -S '*) ;; *) exit 0 ;; esac
      for made in pkg-config git cmake make cc python3 clang-format shellcheck ip nft sysctl \
        doxygen abidiff dpkg-buildpackage dh; do
        printf '#!/bin/bash\n' >'$bin/'\$made
        chmod +x '$bin/'\$made
      done"
  done
}
run() {
  output=$(PATH=$bin HOME=$work PACKAGE_MANAGER="" bash "$setup" "$@" 2>&1)
  status=$?
}
installs() { # manager, what it has to be asked for
  machine 0 "$1"
  run tests check lab
  check "$1 installs" "$status $(sed -n '$p' "$log")" "0 $2"
}

everything="clang-format cmake"
installs apt-get "apt-get install -y -qq --no-install-recommends gcc libc6-dev $everything git ca-certificates iproute2\
 libssl-dev libsodium-dev libuv1-dev make nftables pkg-config python3 shellcheck procps"
installs dnf "dnf install -y -q --setopt=install_weak_deps=False gcc glibc-devel libasan libubsan clang-tools-extra\
 cmake git iproute openssl-devel libsodium-devel libuv-devel make nftables pkgconf-pkg-config python3 ShellCheck\
 procps-ng"
installs pacman "pacman -S --needed --noconfirm gcc clang cmake git iproute2 openssl libsodium libuv make nftables\
 pkgconf python shellcheck procps-ng"
installs zypper "zypper --non-interactive --quiet install --no-recommends gcc glibc-devel clang-tools cmake git\
 iproute2 libopenssl-3-devel libsodium-devel libuv-devel make nftables pkg-config python3 ShellCheck procps"
installs apk "apk add --no-progress gcc musl-dev clang-extra-tools cmake git iproute2 openssl-dev libsodium-dev\
 libuv-dev make nftables pkgconf python3 shellcheck procps-ng"
installs brew "brew install --quiet $everything git openssl@3 libsodium libuv pkgconf python shellcheck"

machine 0 apt-get
run tests check lab
rm "$bin/doxygen" "$bin/abidiff" "$bin/dpkg-buildpackage" "$bin/dh"
: >"$log"
run packaging
check "apt-get installs what makes packages" "$status $(sed -n '$p' "$log")" \
  "0 apt-get install -y -qq --no-install-recommends abigail-tools debhelper doxygen dpkg-dev"
machine 0 zypper
run tests check lab
rm "$bin/doxygen" "$bin/abidiff" "$bin/dpkg-buildpackage" "$bin/dh"
: >"$log"
run packaging
check "asks no other manager for Debian's tools" "$status $(sed -n '$p' "$log")" "0 zypper * doxygen"

machine 0 apt-get
run
check "reads the package lists first" "$status $(sed -n 1p "$log")" "0 apt-get update -qq"

machine 1000 zypper sudo
program sudo "echo sudo >>'$log'; exec \"\$@\""
run
check "asks sudo" "$status $(sed -n 1p "$log")" "0 sudo"

machine 1000 brew
run
check "asks no sudo for brew" "$status" 0

machine 1000 dnf
run
check "says what root has to do" "$status $output" "1 error: missing: * As root: dnf install *"

machine 0
run
check "says that there is no package manager" "$status $output" "1 error: missing: *by hand"

machine 0 dnf
program dnf "exit 3"
run
check "says that the installation failed" "$status ${output##*$'\n'}" "1 error: could not install *"

machine 0 dnf
program dnf "exit 0"
run
check "says what is still missing" "$status ${output##*$'\n'}" "1 error: still missing *"

machine 0 apk
run --print tests
check "prints without installing" "$status $output $(cat "$log")" "0 apk add --no-progress * "

machine 0 apk
run
: >"$log"
run
check "is quiet when nothing is missing" "$status$output$(cat "$log")" 0

machine 0 apk dnf
output=$(PATH=$bin HOME=$work PACKAGE_MANAGER=apk bash "$setup" --print 2>&1)
check "takes the package manager that is named" "$output" "apk add *"

machine 0 apk
program swift 'echo "Swift version 6.1"'
run
check "refuses an old toolchain" "$status ${output##*$'\n'}" "1 error: Swift 6.1 is too old*"

machine 0 apk
rm "$bin/swift"
run
check "says that there is no toolchain" "$status ${output##*$'\n'}" "1 error: no Swift toolchain*"

run gifts
check "refuses unknown purposes" "$status ${output%%$'\n'*}" "1 error: setup knows *"
[ "$failures" = 0 ]
