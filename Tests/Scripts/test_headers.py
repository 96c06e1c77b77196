#!/usr/bin/env python3
"""The public C headers: each compiles alone in every language that programs use it from, and each function of the whole
stack's says on which thread it may be called, what becomes of memory, and every error."""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INCLUDE = os.path.join(ROOT, "include")
WARNINGS = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-I", INCLUDE]
LANGUAGES = {"c99": "c", "c11": "c", "c17": "c", "c++17": "c++"}
FUNCTION = re.compile(r"((?:^///[^\n]*\n)*)^(?!typedef)[\w][\w ]*?[ *]+(hyperswarm_\w+)\(([^;]*)\);", re.M)
THREADS = ("any", "loop", "any; with a caller's loop the thread of that loop")
SETS = {"_handle_", "_call_", "_operation_", "_ended_"}


def read(name):
    with open(os.path.join(INCLUDE, name), encoding="utf-8") as file:
        return file.read()


def report(name, problems):
    print(f"{'FAILED' if problems else 'ok'} headers {name}" + "".join(f"\n  {problem}" for problem in problems))
    return bool(problems)


def compilers():
    """The system's, and one of the other make where there is one."""
    return [name for name in ("gcc", "clang") if shutil.which(name)] or ["cc"]


def compiles(compiler, standard, language, source, *options):
    return subprocess.run([compiler, f"-std={standard}", "-x", language, *options, "-fsyntax-only", "-"], input=source,
                          text=True, capture_output=True, check=False)


def compile_alone(header):
    # What <uv.h> needs of the C library is hidden in strict modes; hyperswarm.h needs nothing of it.
    defines = ["-D_GNU_SOURCE"] if header.startswith("udx") else []
    for compiler in compilers():
        for standard, language in LANGUAGES.items():
            if compiles(compiler, standard, language, "#include <stddef.h>\n").returncode != 0:
                continue  # a compiler without this language
            made = compiles(compiler, standard, language, f"#include <{header}>\n", *defines, *WARNINGS)
            if made.returncode != 0:
                yield f"{compiler} -std={standard}: " + (made.stderr.strip().splitlines() or ["?"])[0]


def own_needs(headers):
    for header in headers:
        for name in re.findall(r"#include [<\"]([^>\"]+)[>\"]", read(header)):
            if name not in ("stddef.h", "stdint.h") and name not in headers:
                yield f"{header} includes {name}"


def tags(comment):
    """The words after each @tag of a comment, joined over its lines."""
    found, tag = {}, None
    for line in comment.splitlines():
        text = line[3:].strip()
        begin = re.match(r"@(\w+) ?(.*)", text)
        if begin:
            tag, text = begin.groups()
            found[tag] = text
        elif tag:
            found[tag] += " " + text
    return found


def documented(headers, errors):
    count = 0
    for header in headers:
        text = read(header)
        for comment, name, parameters in FUNCTION.findall(text):
            count += 1
            said = tags(comment)
            for tag in ("thread", "memory", "errors"):
                if not said.get(tag):
                    yield f"{name} has no @{tag}"
            if said.get("thread") not in THREADS:
                yield f"{name}: @thread {said.get('thread')}"
            if re.search(r"hyperswarm_(?:done|value)_cb done|\bint status,", parameters) and not said.get("status"):
                yield f"{name} has no @status"
            for tag in ("errors", "status"):
                words = said.get(tag, "")
                named = set(re.findall(r"HYPERSWARM_\w+", words)) | set(re.findall(r"(?<!\w)_\w+_(?!\w)", words))
                yield from (f"{name}: @{tag} names {word}" for word in sorted(named - errors - SETS))
    if count < 50:
        yield f"only {count} functions were found"


def grouped(headers):
    """Each group has a program among the examples that calls something of the group; the reference shows it."""
    text = "".join(read(header) for header in headers)
    groups = re.findall(r"^/// @defgroup (\w+) .*\n/// @par Example\n/// @include (\S+)$", text, re.M)
    yield from sorted(set(re.findall(r"@defgroup (\w+)", text)) - {name for name, _ in groups})
    for group, program in groups:
        path = os.path.join(ROOT, "Examples", "C", program)
        members = "".join(re.findall(rf"@addtogroup {group}\n(.*?)/// @}}", text, re.S))
        calls = {name for _, name, _ in FUNCTION.findall(members)}
        if not os.path.isfile(path):
            yield f"{group}: there is no {program}"
            continue
        with open(path, encoding="utf-8") as file:
            if not calls & set(re.findall(r"\b(hyperswarm_\w+)\(", file.read())):
                yield f"{group}: {program} calls none of its {len(calls)} functions"


def main():
    headers = sorted(name for name in os.listdir(INCLUDE) if name.endswith(".h"))
    stack = [name for name in headers if name.startswith("hyperswarm")]
    failed = report("were found", [] if len(stack) >= 2 and "udx.h" in headers else headers)
    for header in headers:
        failed |= report(f"{header} compiles alone", list(compile_alone(header)))
    failed |= report("hyperswarm.h needs no other library's header", list(own_needs(stack)))
    errors = set(re.findall(r"\b(HYPERSWARM_\w+) = ", read("hyperswarm_errors.h")))
    failed |= report("each function says thread, memory, errors", list(documented(stack, errors)))
    failed |= report("each group has an example", list(grouped(stack)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
