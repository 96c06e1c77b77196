#!/usr/bin/env python3
"""All tests; exit code 77 where this Python cannot run them."""

import importlib
import os
import sys
import unittest

for needed in ("asyncio", "ctypes"):
    try:
        importlib.import_module(needed)
    except ImportError as error:
        print(f"skipped: this Python has no {needed}: {error}")
        sys.exit(77)
if sys.version_info < (3, 9):
    print("skipped: Python 3.9 or later")
    sys.exit(77)
folder = os.path.dirname(os.path.abspath(__file__))
os.chdir(folder)
result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.discover(folder, top_level_dir=folder))
sys.exit(0 if result.wasSuccessful() else 1)
