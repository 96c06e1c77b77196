"""Files of the checkout, split into code and comments without a compiler."""
import os
import re
import subprocess

CODE = (".swift", ".c", ".h", ".py", ".sh")
BINARY = ("Tests/Fuzz/udx/corpus/", "Tests/Fuzz/swift/corpus/")


class File:
    """One text file. `code` has comments and the contents of strings blanked; offsets and lines are those of `text`."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.kind = kind_of(path, text)
        self.code, self.comments = text, []
        if self.kind in ("swift", "c"):
            self.code, self.comments = split(text, self.kind == "swift")
        elif self.kind in ("sh", "py"):
            self.comments = [(i, line[line.index("#"):]) for i, line in enumerate(text.split("\n"), 1)
                             if line.lstrip().startswith("#")]

    def line(self, offset):
        return self.text.count("\n", 0, offset) + 1


def kind_of(path, text):
    extension = os.path.splitext(path)[1]
    if extension == ".swift":
        return "swift"
    if extension in (".c", ".h"):
        return "c"
    first = text.split("\n", 1)[0]
    if extension == ".sh" or first.startswith("#!") and re.search(r"\b(ba)?sh\b", first):
        return "sh"
    if extension == ".py" or first.startswith("#!") and "python" in first:
        return "py"
    return extension.lstrip(".")


def load(root):
    """All text files that git knows, or would know; without git all files that are not hidden."""
    listing = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True)
    if listing.returncode == 0:
        paths = [os.fsdecode(p) for p in listing.stdout.split(b"\0") if p]
    else:
        paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith(".")]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    files = []
    for path in sorted(set(paths)):
        full = os.path.join(root, path)
        if path.startswith(BINARY) or os.path.islink(full) or not os.path.isfile(full):
            continue
        with open(full, "rb") as stream:
            data = stream.read()
        try:
            files.append(File(path, data.decode("utf-8")))
        except UnicodeDecodeError:
            continue
    return files


def split(text, swift):
    """Blanks comments and string contents; returns the code and a list of (line, comment text), one per line."""
    out = list(text)
    comments = []
    size = len(text)

    def blank(start, end):
        for k in range(start, end):
            if out[k] != "\n":
                out[k] = " "

    def note(start, end):
        first = text.count("\n", 0, start) + 1
        comments.extend((first + k, part) for k, part in enumerate(text[start:end].split("\n")))
        blank(start, end)

    def string(i):
        """Blanks the string that begins at i (its hashes included) and returns its end."""
        hashes = 0
        while text[i] == "#":
            hashes, i = hashes + 1, i + 1
        quote = '"""' if swift and text.startswith('"""', i) else text[i]
        i += len(quote)
        close, escape = quote + "#" * hashes, "\\" + "#" * hashes
        while i < size and not text.startswith(close, i):
            if text.startswith(escape + "(", i) and swift:
                blank(i, i + len(escape))
                i = code(i + len(escape) + 1, ")")
            elif text.startswith(escape, i):
                blank(i, min(i + len(escape) + 1, size))
                i += len(escape) + 1
            elif text[i] == "\n" and len(quote) == 1:
                return i
            else:
                blank(i, i + 1)
                i += 1
        return min(i + len(close), size)

    def code(i, closing=None):
        depth = 0
        while i < size:
            c = text[i]
            if text.startswith("//", i):
                end = text.find("\n", i)
                end = size if end < 0 else end
                note(i, end)
                i = end
            elif text.startswith("/*", i):
                end, level = i + 2, 1
                while end < size and level:
                    if swift and text.startswith("/*", end):
                        level, end = level + 1, end + 2
                    elif text.startswith("*/", end):
                        level, end = level - 1, end + 2
                    else:
                        end += 1
                note(i, end)
                i = end
            elif c == '"' or c == "'" and not swift or c == "#" and swift and re.match(r'#+"', text[i:i + 8]):
                i = string(i)
            elif closing and c in "()":
                if c == ")" and depth == 0:
                    return i + 1
                depth += 1 if c == "(" else -1
                i += 1
            else:
                i += 1
        return i

    code(0)
    return "".join(out), comments


def match_brace(code, start):
    """The offset behind the brace that closes the one at `start`."""
    depth = 0
    for hit in re.finditer(r"[{}]", code[start:]):
        depth += 1 if hit.group() == "{" else -1
        if depth == 0:
            return start + hit.end()
    return len(code)


def c_plain(code):
    """C code without preprocessor lines, and of every #if only the first branch, so that braces match."""
    out, skip = [], []
    continued = False
    for line in code.split("\n"):
        stripped = line.lstrip()
        directive = continued or stripped.startswith("#")
        if directive and not continued:
            word = re.match(r"#\s*(\w*)", stripped).group(1)
            if word in ("if", "ifdef", "ifndef"):
                skip.append("__cplusplus" in stripped and "defined" not in stripped)
            elif word in ("else", "elif") and skip:
                skip[-1] = True
            elif word == "endif" and skip:
                skip.pop()
        continued = directive and line.rstrip().endswith("\\")
        out.append(" " * len(line) if directive or any(skip) else line)
    return "\n".join(out)


# A parameter list with function pointers in it.
PARAMETERS = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"


def c_functions(file):
    """(name, first offset, offset of the name, end offset) of every function defined in a C file."""
    plain = c_plain(file.code)
    found, position, begin = [], 0, 0
    for hit in iter(lambda: re.compile(r"[;{}]").search(plain, position), None):
        if hit.group() != "{":
            position = begin = hit.end()
            continue
        head = plain[begin:hit.start()]
        end = match_brace(plain, hit.start())
        name = re.search(r"(\w+)\s*" + PARAMETERS + r"\s*(?:__attribute__\s*\(\(.*\)\)\s*)?$", head, re.S)
        if name and "=" not in head and not re.match(r"\s*(struct|union|enum|typedef)\b[^()]*$", head):
            start = begin + len(head) - len(head.lstrip())
            found.append((name.group(1), start, begin + name.start(1), end))
        position = end
        begin = end
    return found


PROTOTYPE = re.compile(
    r"\b(\w+)\s*\((?:[^();]|\((?:[^()]|\([^()]*\))*\))*\)\s*(?:__attribute__\s*\(\(.*?\)\)\s*)?;")


def c_declarations(file):
    """(name, offset) of every function prototype at the top level of a C file."""
    plain = c_plain(file.code)
    flat = blank_bodies(plain)
    for hit in PROTOTYPE.finditer(flat):
        line_start = max(flat.rfind(";", 0, hit.start()), flat.rfind("}", 0, hit.start())) + 1
        before = flat[line_start:hit.start()].strip()
        if before and not before.startswith("typedef") and "=" not in before:
            yield hit.group(1), hit.start(1), before


def blank_bodies(plain):
    out, position = list(plain), 0
    for hit in iter(lambda: re.compile(r"\{").search(plain, position), None):
        end = match_brace(plain, hit.start())
        for k in range(hit.start() + 1, end - 1):
            if out[k] != "\n":
                out[k] = " "
        position = end
    return "".join(out)


SWIFT_FUNCTION = re.compile(
    r"\b(?:func\s+(`?[\w]+`?|[^\s\w(]+)|(init)\b[?!]?(?=\s*[(<])|(deinit)\b|(subscript)\b(?=\s*[(<]))")
# A declaration goes on in the next line if that begins, or this one ends, like this.
GOES_ON = re.compile(r"(where|async|throws|rethrows|->|\{|\(|&|==|:)")
UNFINISHED = (",", "->", "where", "throws", "async", "&", ":", "==")


def swift_functions(file):
    """(name, first offset, end offset) of every function, initializer and subscript with a body."""
    code = file.code
    for hit in SWIFT_FUNCTION.finditer(code):
        name = next(g for g in hit.groups() if g)
        before = code[max(0, hit.start() - 1):hit.start()]
        if before == "." or code[:hit.start()].rstrip().endswith(("=", "(", ",", "return", "try")):
            continue
        depth = 0
        for k in range(hit.end(), len(code)):
            c = code[k]
            if c in "([":
                depth += 1
            elif c in ")]":
                depth -= 1
            elif depth == 0 and c == "{":
                yield name, hit.start(), match_brace(code, k)
                break
            elif depth < 0 or depth == 0 and c in "};":
                break
            elif depth == 0 and c == "\n":
                rest = code[k:k + 400].lstrip()
                if not GOES_ON.match(rest) and not code[:k].rstrip().endswith(UNFINISHED):
                    break
