#!/usr/bin/env python3
"""docs/tool.md: every event and every code of errors that the tool prints has its place there, and no other one."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = os.path.join(ROOT, "Sources", "hyperswarm-cli")
# Printed as text only: with --json they are fields of other events.
TEXT_ONLY = {"nodes", "seq"}
# What says nothing, and what is the library's.
OTHERS = {"ERROR", "SEQ_TOO_LOW"}
EVENT = re.compile(r'Console\.(?:event\(|note\(|detail\(\s*\d,)\s*"([a-z-]+)",|\bnote\("([a-z-]{2,})", ')
CODE = re.compile(r'code: "([A-Z_]+)"')


def sources():
    for at, _, files in os.walk(SOURCES):
        for file in files:
            if file.endswith(".swift"):
                with open(os.path.join(at, file), encoding="utf-8") as opened:
                    yield opened.read()


def documented():
    with open(os.path.join(ROOT, "docs", "tool.md"), encoding="utf-8") as opened:
        text = opened.read()
    section = text[text.index("\n## JSON"):text.index("\n## What doctor can tell")]
    events = {name for row in re.findall(r"^\| (`[^|]*) \|", section, re.M) for name in re.findall(r"`([a-z-]+)`", row)}
    codes = set(re.findall(r"`([A-Z_]{4,})`", section[section.index("Codes of errors"):]))
    return events, codes


def main():
    texts = list(sources())
    events = {"".join(names) for text in texts for names in EVENT.findall(text)}
    codes = {name for text in texts for name in CODE.findall(text)}
    known_events, known_codes = documented()
    wrong = 0
    for what, found, known in (("event", events - TEXT_ONLY, known_events), ("code", codes - OTHERS, known_codes)):
        for name in sorted(found - known):
            print(f"docs/tool.md does not have the {what} {name}")
            wrong += 1
    for name in sorted(known_events - events):
        print(f"docs/tool.md has the event {name}, which nothing prints")
        wrong += 1
    print("FAILED tool schema" if wrong else "ok tool schema")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
