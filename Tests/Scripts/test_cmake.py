#!/usr/bin/env python3
"""CMake: what a user can set is said in one place."""
import collections
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    files = subprocess.run(["git", "ls-files", "*CMakeLists.txt", "*.cmake"], cwd=ROOT, check=True, capture_output=True,
                           text=True).stdout.split()
    places = collections.defaultdict(list)
    for name in files:
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            for option in re.findall(r"^\s*option\((\w+)", file.read(), re.M):
                places[option].append(name)
    twice = [f"{option}: {', '.join(names)}" for option, names in sorted(places.items()) if len(names) > 1]
    if not places:
        twice.append("no options found")
    print(f"{'FAILED' if twice else 'ok'} cmake each option is defined once" + "".join(f"\n  {line}" for line in twice))
    return bool(twice)


if __name__ == "__main__":
    sys.exit(main())
