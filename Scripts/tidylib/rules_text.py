"""Rules about lines, words and citations."""
import os
import re
from . import citations

LINE_MAX = 120  # columns
FILE_MAX = 500  # lines
FUNCTION_MAX = 70  # lines
TEXT = ("swift", "c", "sh", "py", "lua", "js", "txt", "md", "yml", "cmake", "json", "modulemap", "")
LONG_LINES = ("swift", "c", "sh", "py", "txt", "yml")
HERE = os.path.dirname(os.path.abspath(__file__))


def long_line(tree):
    for file in tree.files:
        if file.kind in LONG_LINES:
            for number, line in enumerate(file.text.split("\n"), 1):
                if len(line) > LINE_MAX:
                    yield file.path, number, f"{len(line)} columns, at most {LINE_MAX}"


def long_file(tree):
    for file in tree.files:
        if file.kind in ("swift", "c", "sh", "py"):
            lines = file.text.count("\n")
            if lines > FILE_MAX:
                yield file.path, 1, f"{lines} lines, at most {FILE_MAX}"


def whitespace(tree):
    for file in tree.files:
        if file.path.startswith("Tests/Vectors/") or file.kind not in TEXT:
            continue
        for number, line in enumerate(file.text.split("\n"), 1):
            if "\t" in line and not file.path.endswith("words.txt"):
                yield file.path, number, "a tab; indent and align with spaces"
            if line != line.rstrip():
                yield file.path, number, "white space at the end of the line"
        if file.text and not file.text.endswith("\n"):
            yield file.path, file.text.count("\n") + 1, "no newline at the end of the file"


def banned_words():
    with open(os.path.join(HERE, "words.txt"), encoding="utf-8") as stream:
        return dict(line.rstrip("\n").split("\t") for line in stream if "\t" in line)


def banned_word(tree):
    words = banned_words()
    pattern = re.compile(r"(?<![\w`\"./-])(" + "|".join(words) + r")(?![\w`\"-])", re.I)
    for file in tree.files:
        if file.kind not in ("swift", "c"):
            continue
        for number, comment in file.comments:
            for hit in pattern.finditer(comment):
                yield file.path, number, f"\"{hit.group(1)}\" in a comment: {words[hit.group(1).lower()]}"


def citation(tree):
    index = tree.index
    for file in tree.files:
        if file.path.startswith("Tests/Vectors/") or file.kind not in ("swift", "c", "md", "txt", "sh", "lua", "yml"):
            continue
        if file.path.startswith("docs/spec/") and file.path.count("/") == 2:
            yield from own_sections(file, index)
        for offset, problem in index.problems(file.text):
            yield file.path, file.line(offset), problem


def own_sections(file, index):
    document = os.path.basename(file.path)[:-3]
    if not index.known(document):
        return
    for hit in re.finditer(r"(?:(\w[\w-]*)\.md`? )?§ ?(\d+(?:\.\d+)*)", file.text):
        named = hit.group(1) or document
        if index.known(named) and not index.has(named, hit.group(2)):
            yield file.path, file.line(hit.start()), f"{named}.md has no {hit.group(2)}"


def short_citation(tree):
    for file in tree.files:
        if file.kind in ("swift", "c"):
            for number, comment in file.comments:
                for _, form in citations.short_forms(comment):
                    yield file.path, number, f"\"{form}\" leaves the document open: write for example \"udx.md 2.5\""


def machine_path(tree):
    pattern = re.compile(r"(?<![\w.~$}/-])/(?:work|root|tmp/w|home/[a-z])(?=[/\"'\s`)]|$)")
    for file in tree.files:
        if file.path.startswith("Tests/Vectors/"):
            continue
        for number, line in enumerate(file.text.split("\n"), 1):
            if pattern.search(line):
                yield file.path, number, "a path of one machine"


def outside_path(tree):
    for file in tree.files:
        if file.path.startswith(("Scripts/tidylib/", "Tests/Scripts/")):
            continue
        for number, line in enumerate(file.text.split("\n"), 1):
            if "../shared" in line:
                yield file.path, number, "names a folder outside the repository"


RULES = {
    "long-line": (long_line, f"lines of code have at most {LINE_MAX} columns"),
    "long-file": (long_file, f"source files have at most {FILE_MAX} lines; more is two mechanisms"),
    "whitespace": (whitespace, "no tabs, no white space at line ends, a newline at the end"),
    "banned-word": (banned_word, "comments name the parts of the program (Scripts/tidylib/words.txt)"),
    "citation": (citation, "every cited section, item and id exists in docs/spec"),
    "short-citation": (short_citation, "a citation names its document"),
    "machine-path": (machine_path, "no paths of one machine in files"),
    "outside-path": (outside_path, "nothing refers to what lies beside the repository"),
}
