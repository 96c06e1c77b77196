#!/usr/bin/env python3
"""The badges of the README say what the package, the licence and the scripts say."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def title(badge):
    """What a badge says to those who cannot see it; what it shows is the same."""
    text = read("docs", "badges", badge)
    return re.search(r"<title>([^<]*)</title>", text)[1], " ".join(re.findall(r">([^<>]+)</text>", text))


def main():
    manifest, failed = read("Package.swift"), False

    def check(name, is_true):
        nonlocal failed
        print(f"{'ok' if is_true else 'FAILED'} badges: {name}")
        failed |= not is_true

    said, shown = title("licence.svg")
    check("licence", "Apache License" in read("LICENSE") and said == "Licence: Apache 2.0" and "Apache-2.0" in shown)
    needed = re.search(r"\((\d+\.\d+) or later is needed\)", read("Scripts", "setup"))[1]
    said, shown = title("swift.svg")
    check("Swift", said == f"Swift {needed}" and shown.split()[-1] == needed)
    said, shown = title("platforms.svg")
    systems = [f"{'macOS' if name == 'macOS' else 'iOS'} {version}"
               for name, version in re.findall(r"\.(macOS|iOS)\(\.v(\d+)\)", manifest)]
    check("platforms", len(systems) == 2 and all(system in said and system in shown for system in systems))
    # What has not been run is said in both places until it has.
    rules = read("CONTRIBUTING.md")
    unrun = "| macos | push, pull request |" in rules and "has not been run" in rules
    check("what has not been run", ("not been run" in said and "not run" in shown) == unrun)
    readme = read("README.md")
    check("all are in the README", all(f"docs/badges/{badge}" in readme for badge in os.listdir(
        os.path.join(ROOT, "docs", "badges"))))
    return failed


if __name__ == "__main__":
    sys.exit(main())
