"""Rules about declarations, functions, headers, imports, versions."""
import re
from collections import Counter
from . import limits, package
from .rules_text import FUNCTION_MAX
from .source import c_declarations, c_functions, c_plain, match_brace, swift_functions

# What the language, its library or a framework calls by name.
CALLED_FROM_OUTSIDE = set("""
main hash body description debugDescription errorDescription makeAsyncIterator makeIterator next enqueue run validate
asUnownedSerialExecutor asUnownedTaskExecutor isSameExclusiveExecutionContext checkIsolated isIsolatingCurrentContext
setUp tearDown setUpWithError tearDownWithError configuration wrappedValue projectedValue encode id rawValue
Element AsyncIterator Iterator Failure RawValue Body Value unownedExecutor localizedDescription customMirror Stride
ArrayLiteralElement StringLiteralType defaultValue allCases stringValue intValue startIndex endIndex subdata
defaultValueDescription LLVMFuzzerTestOneInput LLVMFuzzerInitialize LLVMFuzzerCustomMutator
""".split())
SWIFT_DECLARATION = re.compile(
    r"(?P<attributes>(?:@\w+(?:\([^()\n]*\))?\s+)*)"
    r"(?P<modifiers>(?:\b(?:public|open|package|internal|fileprivate|private|static|final|class|override|"
    r"mutating|lazy|weak|unowned|nonisolated|isolated|indirect|dynamic|required|convenience|prefix|postfix|infix|"
    r"consuming|borrowing|sending)"
    r"(?:\([\w ]+\))?\s+)*)"
    r"\b(?P<kind>func|var|let|struct|class|enum|protocol|typealias|actor)\s+`?(?P<name>[A-Za-z_]\w*)")
C_FOLDERS = ("Sources/", "Tests/", "Benchmarks/", "include/", "Examples/")
# Engines and what stands under them know neither libuv nor sockets nor the runtime.
PURE = ("HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperCollections", "HyperSecretStream", "HyperRPC",
        "HyperDHTEngine", "HyperswarmEngine", "HyperProtomuxEngine")
IMPURE = ("HyperRuntime", "HyperUDX", "CHyperUDX", "CHyperUV", "HyperDHT", "Hyperswarm", "HyperProtomux",
          "HyperNoise", "HyperswarmABI")
# Calls of libuv and of the system; the same names as members are callbacks of the engine's own.
IMPURE_CALL = re.compile(r"(?<![.>\w])(uv_(?!buf_init\b|buf_t\b)\w+|socket|sendmsg|recvmsg|clock_gettime)\s*\(")
# Modules that come with the toolchain or the system.
SYSTEM = set("""Swift Foundation FoundationEssentials Dispatch XCTest Testing Glibc Musl Darwin Android WinSDK
Synchronization _Concurrency PackageDescription Builtin Network System os""".split())


def words(tree):
    """How often each word occurs in code, comments and strings left out; README programs count."""
    if tree.words is None:
        tree.words = Counter()
        for file in tree.files:
            if file.kind in ("swift", "c"):
                tree.words.update(re.findall(r"[A-Za-z_]\w*", file.code))
    return tree.words


def public_regions(file):
    """Bodies of public protocols and public extensions: what they declare is public."""
    for hit in re.finditer(r"\bpublic\s+(?:protocol|extension)\b[^{]*\{", file.code):
        yield hit.start(), match_brace(file.code, hit.end() - 1)


def dead_swift(tree):
    declared, places = Counter(), {}
    for file in tree.files:
        if file.kind != "swift" or file.path == "Package.swift":
            continue
        regions = list(public_regions(file))
        for hit in SWIFT_DECLARATION.finditer(file.code):
            name, modifiers = hit.group("name"), hit.group("modifiers").split()
            if name in ("func", "var", "let", "where", "in", "is") or file.code[:hit.start()].endswith("."):
                continue
            declared[name] += 1
            if ("public" in modifiers or "open" in modifiers or "override" in modifiers or name in CALLED_FROM_OUTSIDE
                    or name.startswith("_") or "@main" in hit.group("attributes") or "@c" in hit.group("attributes")
                    or file.path.startswith("Tests/") and re.match(r"test|[A-Z]\w*Tests?$", name)
                    or any(a <= hit.start("kind") < b for a, b in regions)):
                declared[name] -= 10_000
            places.setdefault(name, []).append((file.path, file.line(hit.start("name"))))
    for name, count in declared.items():
        if count > 0 and words(tree)[name] <= count:
            for path, line in places[name]:
                yield path, line, f"`{name}` is declared and not used"


def dead_c(tree):
    declared, places = Counter(), {}
    public = {name for name, _ in public_functions(tree, "include/")}
    macros, pasted = set(), set()
    for file in tree.files:
        if file.kind == "c":
            macros.update(re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)\(", file.code, re.M))
            pasted.update(re.findall(r"\b(\w{3,}) ?## ?\w", file.code))
    for file in tree.files:
        if file.kind != "c":
            continue
        found = [(name, offset) for name, _, offset, _ in c_functions(file)]
        found += [(name, offset) for name, offset, _ in c_declarations(file)]
        for name, offset in found:
            if name in macros:  # TEST(name) { ... }
                continue
            declared[name] += 1
            if not file.path.startswith("include/"):
                places.setdefault(name, []).append((file.path, file.line(offset)))
        for hit in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", file.code, re.M):
            name = hit.group(1)
            declared[name] += 1
            if file.path.startswith("include/") or name.endswith("_H") or name == "_GNU_SOURCE":
                declared[name] -= 10_000
            places.setdefault(name, []).append((file.path, file.line(hit.start(1))))
    for name, count in declared.items():
        if (name not in public and name not in CALLED_FROM_OUTSIDE and count > 0 and words(tree)[name] <= count
                and not name.startswith(tuple(pasted)) and not any(f'"{name}"' in f.text for f in tree.files)):
            for path, line in places.get(name, ()):
                yield path, line, f"`{name}` is declared and not used"


def dead_declaration(tree):
    yield from dead_swift(tree)
    yield from dead_c(tree)


def long_function(tree):
    for file in tree.files:
        if file.kind == "swift":
            found = swift_functions(file)
        elif file.kind == "c":
            found = ((name, start, end) for name, start, _, end in c_functions(file))
        else:
            continue
        for name, start, end in found:
            lines = file.line(end - 1) - file.line(start) + 1
            if lines > FUNCTION_MAX:
                yield file.path, file.line(start), f"`{name}` has {lines} lines, at most {FUNCTION_MAX}"


def public_functions(tree, prefix):
    """(name, (path, line)) of the functions that public headers declare; inline ones are their own definition."""
    for file in tree.files:
        if file.path.startswith(prefix) and file.path.endswith(".h"):
            for name, offset, before in c_declarations(file):
                if not re.search(r"\b(static|inline)\b", before):
                    yield name, (file.path, file.line(offset))


def header_agreement(tree):
    swift, c = {}, {}
    for file in tree.files:
        if file.kind == "swift" and file.path.startswith("Sources/HyperswarmABI/"):
            for hit in re.finditer(r"@c\b(?:\([^)]*\))?(?:\s+@\w+)*\s+public\s+func\s+(\w+)", file.code):
                swift[hit.group(1)] = (file.path, file.line(hit.start(1)))
        if file.kind == "c" and file.path.startswith("Sources/CUDX/"):
            for name, start, offset, _ in c_functions(file):
                if re.match(r"udx_(?!_)", name) and not re.search(r"\bstatic\b", file.code[start:offset]):
                    c[name] = (file.path, file.line(offset))
    for header, defined, where in (("hyperswarm", swift, "Sources/HyperswarmABI"), ("udx", c, "Sources/CUDX")):
        declared = {name: place for name, place in public_functions(tree, "include/")
                    if name.startswith(header + "_")}
        for name in sorted(declared.keys() - defined.keys()):
            yield *declared[name], f"`{name}` is declared here and not implemented in {where}"
        for name in sorted(defined.keys() - declared.keys()):
            yield *defined[name], f"`{name}` is implemented here and no header in include/ declares it"


IMPORT = re.compile(r"^[ \t]*(?:@\w+(?:\([^)]*\))?[ \t]+)*(?:(?:public|package|internal|private|fileprivate)[ \t]+)?"
                    r"import[ \t]+(?:(?:struct|class|enum|func|protocol|typealias|let|var)[ \t]+)?(\w+)", re.M)


def imports(tree):
    for file in tree.files:
        if file.kind != "swift" or file.path == "Package.swift":
            continue
        target = package.owner(tree.targets, file.path)
        if target is None:
            continue
        allowed = {name.replace("-", "_") for name in target.dependencies} | SYSTEM | {target.name}
        for hit in IMPORT.finditer(file.code):
            if hit.group(1) not in allowed:
                yield file.path, file.line(hit.start(1)), \
                    f"imports {hit.group(1)}, which target {target.name} does not declare"


def pure_engine(tree):
    for name in PURE:
        if name in tree.targets:
            for impure in sorted(package.closure(tree.targets, name) & set(IMPURE)):
                yield "Package.swift", 1, f"target {name} depends on {impure}: engines know neither libuv nor sockets"
    for file in tree.files:
        if not file.path.startswith("Sources/CUDX/engine/"):
            continue
        for hit in IMPURE_CALL.finditer(c_plain(file.code)):
            yield file.path, file.line(hit.start()), f"the engine calls {hit.group(1)}: that is the driver's part"


# What threads of several loops would share: C objects with static storage, Swift statics with a lock or without checks.
SHARED_C = re.compile(
    r"(?m)^(?P<indent>[ ]*)(?:static )(?!.*\bconst\b)(?!inline\b|_Thread_local\b)[\w][\w \*]*?\b(?P<name>\w+)"
    r"(?:\[[^\]]*\])*\s*(?:=|;)")
SHARED_C_STRUCT = re.compile(r"(?m)^static (?!const\b)(?:struct|union)\s*\w*\s*\{")
SHARED_SWIFT = re.compile(
    r"(?m)^(?P<indent>[ ]*)(?:(?:public|package|private|fileprivate|internal) )*"
    r"(?P<unsafe>nonisolated\(unsafe\) )?(?:(?:public|package|private|fileprivate|internal) )*(?P<static>static )?"
    r"(?:let|var) (?P<name>\w+)[^\n]*?(?P<kind>= (?:Locked|Mutex|Atomic|HandleTable)\b|: [^=\n{]*=|= )")
# The programs are no library.
NOT_SHARED = ("Sources/hyperswarm-cli/", "Sources/HyperswarmTesting/")


def shared_state(tree):
    """Loops in one process share nothing (docs/decisions/0190): state that they all reach is listed, with reasons."""
    for file in tree.files:
        if not file.path.startswith("Sources/") or file.path.startswith(NOT_SHARED):
            continue
        if file.kind == "c" and file.path.endswith(".c"):
            code = c_plain(file.code)
            for pattern in (SHARED_C, SHARED_C_STRUCT):
                for hit in pattern.finditer(code):
                    name = hit.groupdict().get("name", "a struct")
                    yield file.path, file.line(hit.start()), f"`{name}` is state that all loops of a process share"
        elif file.kind == "swift":
            for hit in SHARED_SWIFT.finditer(file.code):
                is_global = hit["static"] or not hit["indent"]
                if is_global and (hit["unsafe"] or re.match(r"= (Locked|Mutex|Atomic|HandleTable)", hit["kind"])):
                    yield file.path, file.line(hit.start("name")), \
                        f"`{hit['name']}` is state that all loops of a process share"


def version(tree):
    stated = tree.read("VERSION").strip()
    if not re.fullmatch(r"\d+\.\d+\.\d+", stated):
        yield "VERSION", 1, "is not of the form 1.2.3"
        return
    header = tree.read("include/hyperswarm.h")
    parts = re.findall(r"#define HYPERSWARM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header)
    if header and ".".join(parts) != stated:
        yield "include/hyperswarm.h", 1, f"says {'.'.join(parts)}, VERSION says {stated}: run Scripts/set-version"
    for file in tree.files:
        if file.kind == "swift" and file.path.startswith("Sources/"):
            for hit in re.finditer(r"\"(\d+\.\d+\.\d+)\"", file.text):
                line = file.text[file.text.rfind("\n", 0, hit.start()) + 1:file.text.find("\n", hit.start())]
                if re.search(r"version", line, re.I) and not line.lstrip().startswith("//") and hit.group(1) != stated:
                    yield file.path, file.line(hit.start()), \
                        f"says {hit.group(1)}, VERSION says {stated}: run Scripts/set-version"


def limits_page(tree):
    if any(limits.is_source(f.path) for f in tree.files) and tree.read("docs/limits.md") != limits.page(tree.files):
        yield "docs/limits.md", 1, "is not what Scripts/limits makes of the sources: run it"


RULES = {
    "dead-declaration": (dead_declaration, "what is declared and not public is used somewhere"),
    "long-function": (long_function, f"functions have at most {FUNCTION_MAX} lines"),
    "header-agreement": (header_agreement, "public headers and implementations name the same functions"),
    "imports": (imports, "a file imports only what its target declares in Package.swift"),
    "pure-engine": (pure_engine, "engines reach neither libuv, sockets, clocks nor the runtime"),
    "shared-state": (shared_state, "what all loops of a process would share is listed with its reason"),
    "version": (version, "VERSION, the C header and the Swift constant agree"),
    "limits-page": (limits_page, "docs/limits.md is up to date"),
}
