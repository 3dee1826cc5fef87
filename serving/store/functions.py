"""The server-side functions, by names of their own for each version of them.

A Redis holds several generations, whose processes may run by other code: none takes the functions of another away.
"""

import hashlib
from pathlib import Path

TEXT = Path(__file__).with_name("functions.lua").read_text("utf-8")
VERSION = hashlib.sha256(TEXT.encode()).hexdigest()[:12]
LIBRARY = TEXT.replace("VERSION", VERSION)


def function(name: str) -> str:
    """The name by which this version of a function is called, such as `commit`."""
    return f"dataflow_{name}_{VERSION}"
