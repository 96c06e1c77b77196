"""Rules about what documents name: files and tests of this repository."""
import os
import re

# Folders at the top of the checkout whose paths documents name.
PATH = re.compile(
    r"(?<![\w./-])((?:Sources|Tests|Benchmarks|Scripts|Examples|include|docs|\.ci|\.github)/[\w.+/-]*\w/?)(?![\w*])")
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")
# `testName` or `Suite.testName`; `testSW_04` stands for all that begin so, and so does what ends with "…" or "...".
TEST = re.compile(r"(?:\w+\.)?(test_?[A-Z]\w*)(…|\.\.\.|\*)?")
# Documents that describe other software, what was recorded of it, or earlier versions.
OTHERS = ("docs/spec/", "Tests/Vectors/", "CHANGELOG.md")


def documents(tree):
    for file in tree.files:
        if file.kind == "md" and not file.path.startswith(OTHERS):
            yield file


def named_path(tree):
    for file in documents(tree):
        here = os.path.dirname(file.path)
        for hit in QUOTED.finditer(file.text):
            for path in PATH.findall(hit.group(1)):
                if not os.path.exists(os.path.join(tree.root, path)):
                    yield file.path, file.line(hit.start()), f"{path} does not exist"
        for hit in LINK.finditer(file.text):
            if not os.path.exists(os.path.join(tree.root, here, hit.group(1))):
                yield file.path, file.line(hit.start()), f"the link to {hit.group(1)} leads nowhere"


def named_test(tree):
    names = set()
    for file in tree.files:
        if file.kind == "swift" and file.path.startswith("Tests/"):
            names.update(re.findall(r"\bfunc (test\w+)", file.code))
    for file in documents(tree):
        for hit in QUOTED.finditer(file.text):
            test = TEST.fullmatch(hit.group(1))
            if not test:
                continue
            name, more = test.groups()
            begin = name if more or name.endswith("_") else name + "_"
            if name not in names and not any(n.startswith(begin) for n in names):
                yield file.path, file.line(hit.start()), f"there is no test {name}"


def parts(text):
    """Which main sections a cell of the map or a heading names: "2.1, 2.2" is {"2"}, "Parts B, C" is {"B", "C"}."""
    found = set(re.findall(r"(?<![\w.])(\d+)(?:\.\d+)*\b", text))
    for hit in re.finditer(r"(?:Parts?|Annex(?:es)?) ([A-E](?:, [A-E])*)\b", text):
        found.update(hit.group(1).split(", "))
    return found


def section_map(tree):
    page = tree.read("docs/ARCHITECTURE.md")
    if not page:
        return
    rows = {}
    for heading, body in re.findall(r"^### ([\w-]+)\.md[^\n]*\n(.*?)(?=^#|\Z)", page, re.M | re.S):
        cells = re.findall(r"^\| ([^|]*) \|", body, re.M)
        rows[heading] = set().union(*map(parts, cells)) if cells else set()
    for document in sorted(tree.index.sections):
        text = tree.read(f"docs/spec/{document}.md")
        for number, line in enumerate(text.split("\n"), 1):
            section = re.match(r"#{1,2} (?:(?:Part|Annex) ([A-E])\b|(\d+)\.? )", line)
            name = section and (section.group(1) or section.group(2))
            if name and name not in rows.get(document, ()):
                yield f"docs/spec/{document}.md", number, f"section {name} has no row in docs/ARCHITECTURE.md"


RULES = {
    "named-path": (named_path, "files and folders that documents name, and links in them, exist"),
    "named-test": (named_test, "tests that documents name exist"),
    "section-map": (section_map, "docs/ARCHITECTURE.md names a file for every section of docs/spec"),
}
