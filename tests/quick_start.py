"""Loaded before everything else by the Makefile (-p tests.quick_start): spares each process of the tests a second.

jsonschema, which nbmake brings along, compiles a grammar of web addresses when it is imported. It does without, and no
test looks at the form of an address.
"""

import sys

sys.modules["rfc3987_syntax"] = None
