#!/usr/bin/env python3
"""docs/public-api.md names every public type of the faces and every type that they export."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Section and folder in Sources.
FACES = {"Hyperswarm": "Hyperswarm", "HyperDHT": "HyperDHT", "HyperProtomux": "Protomux",
         "HyperProtomuxJSON": "ProtomuxJSON", "HyperNoise": "Noise", "HyperUDX": "UDX"}
TYPE = re.compile(r"\s*(?:(public|package|private|fileprivate|internal)\s+)?(?:final\s+|indirect\s+)?"
                  r"(class|struct|enum|protocol|extension|actor|typealias)\s+([\w.]+)")
# Parts of a sequence that its documentation stands for.
ASSOCIATED = {"Element", "Failure"}


def public_types(path):
    """Names of the public types of one file, with those that they are inside."""
    depth, outer = 0, []
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = re.sub(r"//.*", "", line)
            found = TYPE.match(line)
            if found:
                access, kind, name = found.groups()
                full = ".".join([part for _, part in outer] + [name])
                if access == "public" and name not in ASSOCIATED:
                    yield full
                if "{" in line and kind != "typealias":
                    outer.append((depth, name))
            depth += line.count("{") - line.count("}")
            while outer and depth <= outer[-1][0]:
                outer.pop()


def exported(path):
    with open(path, encoding="utf-8") as file:
        return re.findall(r"^@_exported import (?:\w+ )?(?:\w+\.)?(\w+)$", file.read(), re.M)


def report(name, missing):
    print(f"{'FAILED' if missing else 'ok'} public API {name}" + (": " + ", ".join(missing) if missing else ""))
    return bool(missing)


def main():
    with open(os.path.join(ROOT, "docs", "public-api.md"), encoding="utf-8") as file:
        text = file.read()
    sections = {title: body for title, body in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S)}
    failed = False
    for face, room in FACES.items():
        section = sections[face]
        named = set(re.findall(r"`([\w.]+)`", section))
        folder = os.path.join(ROOT, "Sources", room)
        types = {name for at, _, files in os.walk(folder) for file in files if file.endswith(".swift")
                 for name in public_types(os.path.join(at, file))}
        failed |= report(f"of {face}: public types are listed", sorted(types - named))
        exports = set(exported(os.path.join(folder, "Exports.swift")))
        failed |= report(f"of {face}: exported types are listed", sorted(exports - named))
        cells = re.findall(r"^\| (.*?) \|", section, re.M)
        listed = {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}
        failed |= report(f"of {face}: listed types exist", sorted(listed - types - exports))
    return failed


if __name__ == "__main__":
    sys.exit(main())
