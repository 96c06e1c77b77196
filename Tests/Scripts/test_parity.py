#!/usr/bin/env python3
"""docs/parity.md: what it names is public in Sources, its tests exist, each row has a verdict, and the article "Every
name of JavaScript" says the same. With --write the article is made anew."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARTICLE = os.path.join(ROOT, "Sources", "Hyperswarm", "Hyperswarm.docc", "JavaScriptNames.md")
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


# What crosses the wire, with other columns.
WIRE = "## On the wire"


def rows(text):
    """The cells of each row of each table, without heads."""
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"\|[-|]+\|$", line) and line.split("|")[1] not in HEADS:
            yield [cell.strip() for cell in line.strip()[1:-1].split("|")]


HEADS = {" JavaScript ", " What crosses the wire "}


def article(text):
    """The tables as an article of the documentation: what each name is called here."""
    lines = ["# Every name of JavaScript", "",
             "Options, methods, properties and events of the deployed packages, and what each is called here.", "",
             "## Overview", "",
             "Made from `docs/parity.md` of the repository, which has the test of every row; <doc:FromJavaScript> is",
             "the short form to read first. *Other* is the same capability in the form that Swift has for it,",
             "*partial* lacks some of it, *absent* has nothing for it. Names without a remark do what they do there.",
             ""]
    for line in text[:text.index(WIRE)].splitlines():
        if line.startswith("## "):
            lines += ["#" + line, "", "| JavaScript | Swift | Remark |", "|---|---|---|"]
        elif line.startswith("| ") and not line.startswith("| JavaScript |"):
            title, names, _, verdict, note = (cell.strip() for cell in line.strip()[1:-1].split("|"))
            note = re.sub(r"\[([^\]]+)\]\(([^)]*)\)", lambda link: f"`docs/{link[2]}`", note)
            remark = "; ".join(filter(None, ["" if verdict == "full" else f"*{verdict}*", note]))
            lines.append(f"| {title} | {names} | {remark} |".replace("|  |", "| |"))
        elif not line and lines[-1] and not lines[-1].startswith("|---"):
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def wire_findings(text, cases, programs):
    """Problems of the table of what crosses the wire: each row names tests or programs that are there."""
    count = 0
    for row in rows(text[text.index(WIRE):]):
        count += 1
        if len(row) != 3:
            yield f"{row[0]}: {len(row)} cells, not 3"
            continue
        proofs = re.findall(r"`([^`]+)`", row[2])
        if not proofs:
            yield f"{row[0]}: no proof"
        for proof in proofs:
            program, _, part = proof.partition(" ")
            if proof not in cases and part not in programs.get(program, ()):
                yield f"{row[0]}: there is no {proof}"
    if count < 15:
        yield f"only {count} rows were found"


def cases_of_programs():
    """The cases that the programs against the JavaScript stack have, by the program."""
    def read(*path):
        with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
            return file.read()
    examples = set(re.findall(r"def test_(\w+)", read("Tests", "Examples", "javascript")))
    run = read("Tests", "Interop", "run.py")
    words = {"listen", "announce", "put", "swarm", "expose", "forward", "holesail", "both dial at once"}
    return {"Tests/Examples/javascript": examples, "Tests/Interop/run.py": {word for word in words if word in run},
            "Tests/CLibrary/javascript": {""}}


def findings(text, symbols, cases):
    count = 0
    for row in rows(text.partition(WIRE)[0]):
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
    if "--write" in sys.argv:
        with open(ARTICLE, "w", encoding="utf-8") as file:
            file.write(article(text))
    symbols = collected("Sources", public_names)
    cases = collected("Tests", tests)
    failed = report("every row names what exists", list(findings(text, symbols, cases)))
    failed |= report("what crosses the wire has a test", list(wire_findings(text, cases, cases_of_programs())))
    with open(ARTICLE, encoding="utf-8") as file:
        is_same = file.read() == article(text)
    failed |= report("the article has the same rows", [] if is_same else ["Tests/Scripts/test_parity.py --write"])
    # The check itself notices what is wrong.
    wrong = "\n".join(["| a | `Hyperswarm.nothing` | `NoTests.testNothing` | full | |", "| b | | | maybe | |"])
    seen = [problem for problem in findings(wrong, symbols, cases) if not problem.startswith("only")]
    failed |= report("missing names, tests and verdicts are found", [] if len(seen) == 3 else seen)
    wrong = f"{WIRE}\n| c | swarms | `NoTests.testNothing`, `Tests/Interop/run.py nothing` |"
    seen = [problem for problem in wire_findings(wrong, cases, cases_of_programs()) if not problem.startswith("only")]
    failed |= report("missing proofs are found", [] if len(seen) == 2 else seen)
    return failed


if __name__ == "__main__":
    sys.exit(main())
