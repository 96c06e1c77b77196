#!/usr/bin/env python3
"""Checks what formatters do not: the rules of this repository that a program can check.

    Scripts/tidy.py             all rules over the checkout; exit code 1 if anything was found
    Scripts/tidy.py RULE ...    only these
    Scripts/tidy.py --list      the rules
    Scripts/tidy.py --counts    findings per rule instead of every one
    Scripts/tidy.py --graph     the import graph of Package.swift, lowest layer first
    --root FOLDER               another checkout

Findings that cannot be otherwise are listed in Scripts/tidy-allow.txt, each with its reason.
"""
import fnmatch
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tidylib import citations, package, rules_code, rules_documents, rules_text, source  # noqa: E402

RULES = {**rules_text.RULES, **rules_code.RULES, **rules_documents.RULES}


class Tree:
    """The checkout that the rules look at."""

    def __init__(self, root):
        self.root = root
        self.files = source.load(root)
        self.words = None
        self.targets = package.targets(self.read("Package.swift"))
        texts = {name: self.read(f"docs/spec/{name}.md") for name in citations.DOCUMENTS}
        self.index = citations.Index({name: text for name, text in texts.items() if text})

    def read(self, path):
        try:
            with open(os.path.join(self.root, path), encoding="utf-8") as stream:
                return stream.read()
        except OSError:
            return ""


class Allowed:
    """Lines "rule path-pattern text # reason": findings of a rule in such a file that contain the text are left out."""

    def __init__(self, text):
        self.entries = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.startswith("#"):
                continue
            entry, mark, reason = line.partition(" # ")
            parts = entry.split(None, 2)
            if not mark or not reason.strip() or len(parts) < 2 or parts[0] not in RULES:
                sys.exit(f"Scripts/tidy-allow.txt:{number}: expected: rule path [text] # reason")
            self.entries.append([number, *parts, *[""] * (3 - len(parts)), 0])

    def covers(self, rule, path, message):
        for entry in self.entries:
            if entry[1] == rule and fnmatch.fnmatch(path, entry[2]) and entry[3].strip() in message:
                entry[4] += 1
                return True
        return False


def main(arguments):
    if "--list" in arguments:
        for name, (_, text) in RULES.items():
            print(f"{name:18} {text}")
        return 0
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if "--root" in arguments:
        at = arguments.index("--root")
        root = arguments[at + 1]
        del arguments[at:at + 2]
    tree = Tree(root)
    if "--graph" in arguments:
        print("\n".join(package.graph(tree.targets)))
        return 0
    counts = "--counts" in arguments
    chosen = [a for a in arguments if not a.startswith("--")] or list(RULES)
    unknown = [a for a in chosen if a not in RULES] + [a for a in arguments if a.startswith("--") and a != "--counts"]
    if unknown:
        print(f"tidy: unknown: {' '.join(unknown)}; see Scripts/tidy.py --list", file=sys.stderr)
        return 64
    allowed = Allowed(tree.read("Scripts/tidy-allow.txt"))
    total = 0
    for name in chosen:
        found = sorted({f for f in RULES[name][0](tree) if not allowed.covers(name, f[0], f[2])})
        total += len(found)
        if counts:
            print(f"{len(found):5} {name}")
        else:
            for path, line, message in found:
                print(f"{path}:{line}: {name}: {message}")
    if set(chosen) == set(RULES):
        for number, rule, path, text, uses in allowed.entries:
            if uses == 0:
                total += 1
                print(f"Scripts/tidy-allow.txt:{number}: allows {rule} in {path} {text}: not needed any more")
    print(f"tidy: {total or 'no'} findings in {len(tree.files)} files")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
