#!/usr/bin/env python3
"""docs/parity.md: what it names is public in Sources, its tests exist, and each row has a verdict."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERDICTS = {"full", "other", "partial", "absent"}
TYPE = re.compile(r"\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(public|package|private|fileprivate|internal)\s+)?"
                  r"(?:final\s+|indirect\s+)?(class|struct|enum|protocol|extension|actor)\s+([\w.]+)")
MEMBER = re.compile(r"\s*(?:@\w+(?:\([^)]*\))?\s+)*public\s+(?:(?:private|package|internal)\(set\)\s+)?"
                    r"(?:(?:static|final|class|mutating|nonisolated(?:\(nonsending\))?|convenience|required)\s+)*"
                    r"(?:func|var|let|typealias)\s+(\w+)")
INIT = re.compile(r"\s*(?:@\w+\s+)*public\s+(?:nonisolated\(nonsending\)\s+)?(?:convenience\s+)?init\b")
CASE = re.compile(r"\s*case\s+(\w+(?:\s*,\s*\w+)*)\s*$")
PAYLOAD = re.compile(r"\([^()]*\)")


def swift_files(folder):
    for at, _, files in os.walk(os.path.join(ROOT, folder)):
        for file in files:
            if file.endswith(".swift"):
                yield os.path.join(at, file)


def public_names(lines):
    """Public types, functions, properties and cases, with the types that they are inside."""
    depth, outer = 0, []
    for line in lines:
        line = re.sub(r"//.*", "", line)
        inside = ".".join(name for _, name, _, _ in outer)
        is_direct = not outer or depth == outer[-1][0] + 1
        found = TYPE.match(line)
        member = MEMBER.match(line)
        if found and is_direct:
            access, kind, name = found.groups()
            if access == "public":
                yield ".".join(filter(None, [inside, name]))
            if "{" in line:
                outer.append((depth, name, kind, access))
        elif member and is_direct:
            yield ".".join(filter(None, [inside, member[1]]))
        elif INIT.match(line) and is_direct:
            yield inside + ".init"
        elif is_direct and outer and outer[-1][2:] == ("enum", "public"):
            bare = line
            while PAYLOAD.search(bare):
                bare = PAYLOAD.sub("", bare)
            names = CASE.match(bare)
            for name in names[1].split(",") if names else []:
                yield f"{inside}.{name.strip()}"
        depth += line.count("{") - line.count("}")
        while outer and depth <= outer[-1][0]:
            outer.pop()


def tests(lines):
    name = None
    for line in lines:
        found = re.match(r"\s*(?:public |package )?(?:final )?class (\w+)", line)
        name = found[1] if found else name
        found = re.match(r"\s*func (test\w+)", line)
        if found and name:
            yield f"{name}.{found[1]}"


def collected(folder, reader):
    names = set()
    for path in swift_files(folder):
        with open(path, encoding="utf-8") as file:
            names.update(reader(file))
    return names


def rows(text):
    """The cells of each row of each table, without heads."""
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"\|[-|]+\|$", line) and not line.startswith("| JavaScript |"):
            yield [cell.strip() for cell in line.strip()[1:-1].split("|")]


def findings(text, symbols, cases):
    count = 0
    for row in rows(text):
        count += 1
        title = row[0]
        if len(row) != 5:
            yield f"{title}: {len(row)} cells, not 5"
            continue
        verdict = row[3]
        named, proved = (re.findall(r"`([^`]+)`", cell) for cell in row[1:3])
        if verdict not in VERDICTS:
            yield f"{title}: no verdict {verdict!r}"
        if verdict in {"full", "other"} and not (named and proved):
            yield f"{title}: {verdict} without a name or a test"
        if verdict == "absent" and (named or not row[4]):
            yield f"{title}: absent with a name, or without a note"
        for name in named + re.findall(r"`([A-Z]\w+\.[\w.]+)`", row[4]):
            if name not in symbols:
                yield f"{title}: {name} is not public in Sources"
        for name in proved:
            if name not in cases:
                yield f"{title}: there is no test {name}"
    if count < 100:
        yield f"only {count} rows were found"


def report(name, problems):
    print(f"{'FAILED' if problems else 'ok'} parity: {name}" + "".join(f"\n  {problem}" for problem in problems))
    return bool(problems)


def main():
    with open(os.path.join(ROOT, "docs", "parity.md"), encoding="utf-8") as file:
        text = file.read()
    symbols = collected("Sources", public_names)
    cases = collected("Tests", tests)
    failed = report("every row names what exists", list(findings(text, symbols, cases)))
    # The check itself notices what is wrong.
    wrong = "\n".join(["| a | `Hyperswarm.nothing` | `NoTests.testNothing` | full | |", "| b | | | maybe | |"])
    seen = [problem for problem in findings(wrong, symbols, cases) if not problem.startswith("only")]
    failed |= report("missing names, tests and verdicts are found", [] if len(seen) == 3 else seen)
    return failed


if __name__ == "__main__":
    sys.exit(main())
