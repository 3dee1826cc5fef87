"""What an error of DuckDB means for who reads the lake: files that are gone, too little memory, or no room on the disk.

DuckDB tells them by their types only until the first rows are there: what happens while the rest is fetched comes as
`InvalidInputException`, with the error in the text. Pure.
"""

import re
from enum import Enum

import duckdb

# A file that a version has was removed: before it was looked for, or between that and its turn.
GONE = re.compile(r'No files found that match|Cannot open file "[^"]*\.parquet": No such file')

LATER = "\nError: "  # what comes behind it is what happened while rows were fetched


class Trouble(Enum):
    """Why rows could not be read."""

    GONE = "files that this version of a table is read from were removed"
    MEMORY = "what the statement may take of memory, and of disk beside it, is used up"
    DISK = "a file could not be read or written"


def said(error: Exception) -> str:
    """The line of an error's text that says what happened: advice follows."""
    return str(error).rpartition(LATER)[2].partition("\n")[0]


def trouble(error: duckdb.Error) -> Trouble | None:
    """None for one that is nobody's but the statement's."""
    text = str(error)
    if GONE.search(text):
        return Trouble.GONE
    for kind, start, found in (
        (duckdb.OutOfMemoryException, "Out of Memory Error: ", Trouble.MEMORY),
        (duckdb.IOException, "IO Error: ", Trouble.DISK),
    ):
        if isinstance(error, kind) or (
            isinstance(error, duckdb.InvalidInputException) and f"{LATER}{start}" in text
        ):
            return found
    return None
