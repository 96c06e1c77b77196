#!/usr/bin/env python3
"""Scripts/tidy.py over a small tree in which every rule has something to find, and over one without a fault."""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIDY = os.path.join(REPOSITORY, "Scripts", "tidy.py")
sys.path.insert(0, os.path.join(REPOSITORY, "Scripts"))
from tidylib import citations, limits, package, source  # noqa: E402

failures = 0


def check(name, condition, detail=""):
    global failures
    print(f"ok tidy {name}" if condition else f"FAILED tidy {name} {detail}")
    failures += not condition


MANIFEST = """// swift-tools-version: 6.1
import PackageDescription
let package = Package(
  name: "x",
  targets: [
    .target(name: "HyperRPC", dependencies: ["HyperRuntime"], path: "Sources/RPC"),
    .target(name: "HyperRuntime", path: "Sources/Runtime"),
    .testTarget(name: "RPCTests", dependencies: ["HyperRPC", .product(name: "P", package: "p-kit")]),
  ])
"""
SPECIFICATION = """# UDX
## 1. Packets
1. First step.
### 1.1 Header
| OBS-1 | slow |
## 9. Checklist
 1. One.
 2. Two.
## Annex A. Functions
"""
GOOD = {
    "VERSION": "1.2.3\n",
    "Package.swift": MANIFEST.replace('dependencies: ["HyperRuntime"], ', ""),
    "docs/spec/udx.md": SPECIFICATION + "See §1.1.\n",
    "docs/ARCHITECTURE.md": "### udx.md: x\n\n| section | file |\n|---|---|\n| 1, 9 | - |\n| Annex A | - |\n",
    "include/hyperswarm.h": "#ifndef HYPERSWARM_H\n#define HYPERSWARM_H\n#define HYPERSWARM_VERSION_MAJOR 1\n"
                            "#define HYPERSWARM_VERSION_MINOR 2\n#define HYPERSWARM_VERSION_PATCH 3\n"
                            "int hyperswarm_go(int a, void (*call)(int b));\n#endif\n",
    "include/udx.h": "/* udx.md 1.1, 9 and Annex A; udx.md 1, step 1; OBS-1; UDX-2. */\nint\nudx_init (int a);\n",
    "Sources/HyperswarmABI/Go.swift":
        "@c @implementation\npublic func hyperswarm_go(_ a: Int32, _ call: Int) -> Int32 { a }\n",
    "Sources/CUDX/engine/udx.c":
        "static int used (int a) { return a; }\nint\nudx_init (int a) {\n  return used(a); // RFC 9002 section 7\n}\n"
        "int\nudx__go (const calls *on, calls out) {\n  return on->socket(1) + out.sendmsg(2) + udx__go(on, out);\n}\n",
    "README.md": "[text](docs/spec/udx.md#1), [far](https://x.y/z), `cc Sources/CUDX/engine/udx.c`, `Sources/RPC`,"
                 " `A.testOne`, `testT_1`, `testT_…`, `path/Sources/gone.c`\n",
    "Tests/RPCTests/A.swift": "func testOne() {}\nfunc testT_1_b() {}\n",
    "Sources/RPC/A.swift": "import Foundation\nstruct Used { let value = 1 }\n"
                           "public func f() -> String { \"\\(Used().value)\" }\n",
}
# In two parts, so that this file has no such path itself.
MACHINE_PATH = "/wo" "rk/x"
LONG = "\n".join(f"  let v{i} = g({i}); _ = v{i}" for i in range(75))
BAD = {
    **GOOD,
    "Package.swift": MANIFEST,
    "docs/limits.md": "old\n",
    "include/hyperswarm.h": GOOD["include/hyperswarm.h"].replace("PATCH 3", "PATCH 4").replace("_go", "_no"),
    "Sources/RPC/Limits.swift":
        "enum RPCLimits {\n  /// Seconds.\n  static let a = 1\n}\nlet b = RPCLimits.a, c = b + c\n",
    "Sources/RPC/B.swift":
        "import HyperUDX\n// who knows\n// udx.md 7.7 and OBS-9\n// see section 3\n/// " + "x" * 120 + "\n"
        + "func g(_ a: Int) -> Int {\n" + LONG + "\n  return g(a)\n}\nprivate func lonely() {}\n"
        + f"let path = \"{MACHINE_PATH}\" \n",
    "Sources/RPC/C.swift": "\n" * 501,
    "Sources/RPC/D.swift":
        "enum E {\n  static let limit = 1\n  static let held = Locked(0)\n}\nlet d = E.limit + E.held\n",
    "Sources/CUDX/engine/held.c":
        "static const int even[] = {2, 4};\nstatic _Thread_local int mine;\nstatic int ours;\n"
        "int\nudx__held (void) {\n  return ours + mine + even[0] + udx__held();\n}\n",
    "Sources/CUDX/engine/dead.c":
        "static int alone (int a) {\n  return uv_now(a);\n}\n#define ALONE 1\n"
        "int\nudx_extra (void) {\n  return 0;\n}\n",
    "docs/ARCHITECTURE.md": "### udx.md: x\n\n| section | file |\n|---|---|\n| 1.1 Header, Annex A | - |\n",
    "README.md": "See ../shared/x.\n\tA tab, udx.md 9.9.\n`cat Sources/gone.c`\n`A.testGone`\n[x](gone.md)\n",
}
EXPECTED = {
    "long-line": "Sources/RPC/B.swift:5",
    "long-file": "Sources/RPC/C.swift:1",
    "whitespace": "README.md:2",
    "banned-word": "Sources/RPC/B.swift:2",
    "citation": "Sources/RPC/B.swift:3",
    "short-citation": "Sources/RPC/B.swift:4",
    "machine-path": "Sources/RPC/B.swift:85",
    "outside-path": "README.md:1",
    "dead-declaration": "Sources/RPC/B.swift:84",
    "long-function": "Sources/RPC/B.swift:6",
    "header-agreement": "include/hyperswarm.h:6",
    "imports": "Sources/RPC/B.swift:1",
    "pure-engine": "Package.swift:1",
    "shared-state": "Sources/RPC/D.swift:3",
    "version": "include/hyperswarm.h:1",
    "limits-page": "docs/limits.md:1",
    "named-path": "README.md:3",
    "named-test": "README.md:4",
    "section-map": "docs/spec/udx.md:6",
}


def run(tree, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        for path, text in tree.items():
            full = os.path.join(folder, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as stream:
                stream.write(text)
        result = subprocess.run([sys.executable, TIDY, "--root", folder, *arguments], capture_output=True, text=True)
        return result.returncode, result.stdout + result.stderr


def rules():
    code, output = run(GOOD)
    check("finds nothing in a good tree", code == 0, output)
    code, output = run(BAD)
    check("fails on a bad tree", code == 1)
    for rule, place in EXPECTED.items():
        check(f"{rule} fires", f"{place}: {rule}: " in output, f"not at {place}:\n{output}")
    listed = subprocess.run([sys.executable, TIDY, "--list"], capture_output=True, text=True).stdout
    names = [line.split()[0] for line in listed.splitlines()]
    check("every rule is tested", sorted(names) == sorted(EXPECTED), set(names) ^ set(EXPECTED))
    for place in ("Sources/CUDX/engine/dead.c:1", "Sources/CUDX/engine/dead.c:4"):
        check(f"dead C at {place[-1]}", f"{place}: dead-declaration" in output, output)
    check("implementation without declaration", "dead.c:6: header-agreement" in output, output)
    check("ABI without declaration", "Go.swift:2: header-agreement" in output, output)
    check("static objects in C", "held.c:3: shared-state" in output and output.count("held.c") == 1, output)
    check("driver's calls in the engine", "dead.c:2: pure-engine" in output, output)
    check("citations in documents", "README.md:2: citation: udx.md has no 9.9" in output, output)
    check("links in documents", "README.md:5: named-path" in output, output)
    check("ids", "B.swift:3: citation: udx.md has no OBS-9" in output, output)
    code, output = run(BAD, "long-file")
    check("one rule alone", code == 1 and output.count(": long-file: ") == 1 and "banned" not in output, output)
    code, output = run(BAD, "no-such-rule")
    check("refuses unknown rules", code == 64, output)


def allowances():
    line = "long-file Sources/RPC/*.swift 501 lines # a list of blank lines\n"
    code, output = run({**BAD, "Scripts/tidy-allow.txt": line})
    check("allows what is listed", ": long-file: " not in output and "not needed" not in output, output)
    code, output = run({**GOOD, "Scripts/tidy-allow.txt": line})
    check("tells of allowances without use", code == 1 and "not needed any more" in output, output)
    code, output = run({**GOOD, "Scripts/tidy-allow.txt": "long-file x\n"})
    check("asks for a reason", code == 1 and "reason" in output, output)


def reading():
    code, notes = source.split('let a = "x // \\(b + "c") /*" // d\n/* e /* f */ g */ h\n', True)
    check("Swift strings and comments",
          "b + " in code and "d" not in code and code.count("h") == 1 and "g" not in code, code)
    check("Swift comment lines", [n for n, _ in notes] == [1, 2], notes)
    code, _ = source.split('x = #"a " \\( b"#; y = """\n " q \n"""; z', True)
    check("Swift raw and long strings", "y" in code and "z" in code and "q" not in code and "b" not in code, code)
    code, notes = source.split("char c = '\"'; /* a */ int d; // e\nchar *f = \"\\\"g\"; int h;", False)
    check("C strings and comments", "int d" in code and "int h" in code and "g" not in code and len(notes) == 2, code)
    c = source.File("a.c", "#if X\nint a (int b) {\n#else\nint a (void) {\n#endif\n  if (b) { }\n}\n"
                           "static struct s x = {f(1)};\nvoid *\nd (void (*e)(int), int y) {\n}\nint z (int);\n")
    check("C functions", [f[0] for f in source.c_functions(c)] == ["a", "d"], source.c_functions(c))
    check("C prototypes", [f[0] for f in source.c_declarations(c)] == ["z"], list(source.c_declarations(c)))
    swift = source.File("a.swift", "protocol P {\n  func a() async\n  init()\n}\nstruct S: P {\n  init() {}\n"
                                   "  func a() async\n  {\n    b { c() }\n  }\n"
                                   "  func d(x: () -> Int = { 1 }) -> Int { 1 }\n}\n")
    check("Swift functions", [f[0] for f in source.swift_functions(swift)] == ["init", "a", "d"],
          list(source.swift_functions(swift)))
    found = package.targets(MANIFEST)
    check("targets", list(found) == ["HyperRPC", "HyperRuntime", "RPCTests"], list(found))
    check("dependencies", found["RPCTests"].dependencies == ["HyperRPC", "P"], found["RPCTests"].dependencies)
    check("closure", package.closure(found, "RPCTests") == {"HyperRPC", "HyperRuntime", "P"})
    file = source.File("Sources/X/Limits.swift",
                       "enum Limits {\n  /// Bytes:\n  /// a reason.\n  static let a: Int = 1 << 3\n"
                       "  static var b: Int { a * 2 }\n}\n")
    check("limits of Swift", list(limits.swift_limits(file)) == [
        ("Limits", "a", "1 << 3", "Bytes: a reason."), ("Limits", "b", "a * 2", "Bytes: a reason.")],
        list(limits.swift_limits(file)))
    file = source.File("Sources/X/Limits.swift", """package enum Limits {
  /// Bytes.
  static let a = 1

  /// A mechanism.
  package enum Inner {
    /// Seconds.
    @inlinable package static var b: Int { 2 }
    static let c = b
    enum Deep {
      static let d = 3 // packets
    }
  }

  package static func check() { _ = checked }
  private static let checked: Void = {
    let e = 4
    precondition(a < Inner.b && e > 3)
  }()
  static let f = 5
}
""")
    check("nested limits of Swift", list(limits.swift_limits(file)) == [
        ("Limits", "a", "1", "Bytes."), ("Limits.Inner", "b", "2", "Seconds."), ("Limits.Inner", "c", "b", "Seconds."),
        ("Limits.Inner.Deep", "d", "3", "packets"), ("Limits", "f", "5", "")], list(limits.swift_limits(file)))
    file = source.File("limits.h", "/* ---- sending ---- */\n#define A 1 /* bytes */\n#define B 2 /* one\n  two */\n")
    check("limits of C", list(limits.c_limits(file)) == [
        ("sending", "A", "1", "bytes"), ("sending", "B", "2", "one two")], list(limits.c_limits(file)))
    index = citations.Index({"udx": SPECIFICATION})
    for text, good in (("udx.md 1.1", True), ("udx.md 1, step 1", True), ("udx.md 1, step 2", False),
                       ("udx.md Annex A", True), ("udx.md Annex B", False), ("udx.md 1, 9 and 8", False),
                       ("udx.md 9 item 2", True), ("UDX-3", False),
                       ("udx.md items 1 to 2", True), ("udx.md OBS-1", True), ("HYPER_UDX-7x", True)):
        check(f"citation {text}", (not list(index.problems(text))) == good, list(index.problems(text)))
    for text, good in (("// udx.md 2.5", True), ("// (spec 2.5)", False), ("// B21", False), ("// part C 13", False),
                       ("// RFC 8985 section 7", True), ("// sections 3 and 4", False),
                       ("// udx.md 2.5 and OBS-1", True)):
        check(f"short form {text}", (not list(citations.short_forms(text))) == good, list(citations.short_forms(text)))


rules()
allowances()
reading()
sys.exit(1 if failures else 0)
