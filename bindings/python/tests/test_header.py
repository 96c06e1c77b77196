"""What ctypes is told against what the C compiler reads in the header: sizes, places of fields, numbers, functions."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import unittest

import hyperswarm
from hyperswarm import _library

STRUCTS = {
    "peer_info": _library.PeerInfo, "event": _library.Event, "options": _library.Options,
    "join_options": _library.JoinOptions, "topic_info": _library.TopicInfo, "statistics": _library.Statistics,
    "path": _library.Path, "connection_callbacks": _library.ConnectionCallbacks,
    "connect_options": _library.ConnectOptions, "connection_statistics": _library.ConnectionStatistics,
    "relay_limits": _library.RelayLimits,
    "announce_options": _library.AnnounceOptions, "server_options": _library.ServerOptions, "record": _library.Record,
    "value": _library.Value, "node": _library.Node, "pong": _library.Pong}
# `from` is a word of Python.
NAMES = {"from_address": "from"}
NUMBERS = [name for name, value in vars(_library).items() if name.isupper() and isinstance(value, int)]


def compiler():
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@unittest.skipUnless(compiler(), "no C compiler")
class HeaderTests(unittest.TestCase):
    def run_c(self, body):
        include = os.environ.get("HYPERSWARM_INCLUDE")
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, "facts.c"), os.path.join(folder, "facts")
            with open(source, "w", encoding="utf-8") as file:
                file.write("#include <hyperswarm.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n"
                           + body + "return 0;\n}\n")
            built = subprocess.run(
                [compiler(), *(["-I", include] if include else []), source, "-o", program], capture_output=True,
                text=True, check=False)
            if built.returncode != 0 and not include:
                self.skipTest("no header: HYPERSWARM_INCLUDE names its folder")
            self.assertEqual(built.returncode, 0, built.stderr)
            return dict(line.split() for line in subprocess.run(
                [program], capture_output=True, text=True, check=True).stdout.splitlines())

    def test_structs_have_the_places_of_the_header(self):
        expected, body = {}, ""
        for name, struct in STRUCTS.items():
            body += f'printf("{name} %zu\\n", sizeof(hyperswarm_{name}_t));\n'
            expected[name] = str(ctypes.sizeof(struct))
            for field, *_ in struct._fields_:
                where = f"{name}.{field}"
                body += f'printf("{where} %zu\\n", offsetof(hyperswarm_{name}_t, {NAMES.get(field, field)}));\n'
                expected[where] = str(getattr(struct, field).offset)
        self.assertEqual(self.run_c(body), expected)

    def test_numbers_are_those_of_the_header(self):
        body = "".join(f'printf("{name} %lld\\n", (long long) HYPERSWARM_{name});\n' for name in NUMBERS)
        self.assertEqual(self.run_c(body), {name: str(getattr(_library, name)) for name in NUMBERS})


class VersionTests(unittest.TestCase):
    def test_the_bindings_have_the_version_of_the_library(self):
        self.assertEqual(hyperswarm.__version__, hyperswarm.library_version())

    def test_errors_have_names(self):
        error = hyperswarm.HyperswarmError(-201)
        self.assertEqual((error.name, error.code), ("PEER_NOT_FOUND", -201))
        self.assertIn("PEER_NOT_FOUND: ", str(error))


if __name__ == "__main__":
    unittest.main()
