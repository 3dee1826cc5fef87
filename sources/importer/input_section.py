"""The `input` section of a mapping: how the files are written, their columns, which lines are repeats. Pure."""

import codecs
from dataclasses import dataclass
from typing import Any

from sources.importer.compiler import column_value
from sources.importer.errors import Where
from sources.importer.expression import Expression, constant
from sources.importer.reader import CsvFormat
from sources.importer.sections import choice, section, text

INPUT_KEYS = (
    "format",
    "encoding",
    "delimiter",
    "quote",
    "header",
    "columns",
    "max_record_lines",
    "null_values",
    "personal",
    "duplicates",
)
BUILTINS = ("line_number", "file_name", "revision")
MAX_RECORD_LINES = 1_000


@dataclass(frozen=True)
class Duplicates:
    """Which lines are exact repeats: compared by `columns` (None: by their bytes), within a group, a file or a run."""

    columns: tuple[int, ...] | None
    within: str


def load_format(spec: dict, where: Where) -> CsvFormat:
    """The `input` section's description of the files."""
    choice(spec, "format", ("csv",), "csv", where)
    columns = spec.get("columns")
    if not isinstance(columns, list) or not columns or not all(isinstance(c, str) and c for c in columns):
        raise (where / "columns").error(
            f"expected the list of column names that the mapping uses, saw {columns!r}"
        )
    if len(set(columns)) != len(columns):
        raise (where / "columns").error("a column is named twice")
    encoding = text(spec, "encoding", where, "utf-8")
    try:
        codecs.lookup(encoding)
        plain = "\r\n,;\"'aZ09".encode(encoding) == b"\r\n,;\"'aZ09"
    except (LookupError, ValueError):
        plain = False
    if not plain:
        raise (where / "encoding").error(
            f"expected an encoding that contains ASCII (utf-8, cp1252, iso-8859-15, …), saw {encoding!r}"
        )
    delimiter, quote = text(spec, "delimiter", where, ","), text(spec, "quote", where, '"')
    if (
        len(delimiter) != 1
        or len(quote) != 1
        or not (delimiter + quote).isascii()
        or delimiter in "\r\n"
        or delimiter == quote
    ):
        raise where.error(
            f"expected one ASCII character each for delimiter and quote, saw {delimiter!r} and {quote!r}"
        )
    header = spec.get("header", True)
    if not isinstance(header, bool):
        raise (where / "header").error(f"expected true or false, saw {header!r}")
    lines = spec.get("max_record_lines", 1)
    if not isinstance(lines, int) or isinstance(lines, bool) or not 1 <= lines <= MAX_RECORD_LINES:
        raise (where / "max_record_lines").error(f"expected 1 to {MAX_RECORD_LINES} lines, saw {lines!r}")
    return CsvFormat(tuple(columns), encoding, delimiter, quote, header, lines)


def input_columns(spec: dict, form: CsvFormat, revision: int, where: Where) -> dict[str, Expression]:
    nulls, personal = spec.get("null_values", [""]), spec.get("personal", [])
    if not isinstance(nulls, list) or not all(isinstance(item, str) for item in nulls):
        raise (where / "input" / "null_values").error(f"expected a list of texts, saw {nulls!r}")
    if not isinstance(personal, list):
        raise (where / "input" / "personal").error(f"expected a list of columns, saw {personal!r}")
    for name in personal:
        if name not in form.columns:
            raise (where / "input" / "personal").unknown("column", name, form.columns)
    for name in form.columns:
        if name in BUILTINS:
            raise (where / "input" / "columns").error(
                f"{name!r} is a built-in name; rename the column in the file"
            )
    texts = frozenset(nulls) | {""}
    scope = {name: column_value(i, name, texts, name in personal) for i, name in enumerate(form.columns)}
    return {
        **scope,
        "line_number": Expression(lambda line: line.number, "int"),
        "file_name": Expression(lambda line: line.file, "string"),
        "revision": constant(revision, where),
    }


def load_duplicates(spec: Any, form: CsvFormat, grouped: bool, where: Where) -> Duplicates | None:
    if spec is None:
        return None
    section(spec, ("of", "within"), where)
    within = choice(spec, "within", ("group", "file", "run"), None, where)
    if within == "group" and not grouped:
        raise (where / "within").error("`within: group` needs a `group` section")
    of = spec.get("of", "line")
    if of == "line":
        return Duplicates(None, within)
    if not isinstance(of, list) or not of:
        raise (where / "of").error(f"expected `line` or a list of columns, saw {of!r}")
    for name in of:
        if name not in form.columns:
            raise (where / "of").unknown("column", name, form.columns)
    return Duplicates(tuple(form.columns.index(name) for name in of), within)
