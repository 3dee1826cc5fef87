"""What an expression is evaluated over: a line of a file, a group of lines that belong together. Holds values only."""

from typing import Any

MISSING: Any = object()


class Line:
    """One record of a file.

    `number` is the physical line where it begins (the header is 1), `raw` its bytes without the line end.
    Where the record could not be read as a row, `row` is None and `problem` and `detail` say why. `size` is its length
    in bytes, which is more than `raw` has where an endless line was cut.
    """

    __slots__ = ("detail", "file", "group", "memo", "number", "problem", "raw", "row", "size")

    def __init__(
        self,
        file: str,
        number: int,
        raw: bytes,
        row: list[str] | None,
        problem: str | None = None,
        detail: str = "",
    ) -> None:
        self.file = file
        self.number = number
        self.raw = raw
        self.row = row
        self.problem = problem
        self.detail = detail
        self.size = len(raw)
        self.memo: list[Any] = []
        self.group: Group | None = None


class Group:
    """Lines that belong together, in the order of the file, and the values computed over them."""

    __slots__ = ("lines", "memo")

    def __init__(self, lines: list[Line], slots: int) -> None:
        self.lines = lines
        self.memo: list[Any] = [MISSING] * slots
