"""What can go wrong with an import: the mapping, the input, the account. Reads and writes nothing.

    DataflowError
    ├── ContractError ── MappingError   the mapping does not fit: nothing was read
    ├── InputError       (Terminal)     a file is not what the mapping says, or is damaged
    └── AccountingError  (Terminal)     lines or sums do not add up: a defect, never to be ignored

`LineRefused` is no error of the run: it ends one line, which goes to the dead letters with its reason.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.errors import ContractError, DataflowError, Terminal


class MappingError(ContractError):
    """The mapping does not fit: the message names the file, the place in it, what was expected and what is known."""


class InputError(DataflowError, Terminal):
    """A file cannot be read as the mapping says. Repair it (or the mapping), import again: repeats change nothing."""


class AccountingError(DataflowError, Terminal):
    """Lines or control totals do not add up. Do not use the import's figures; the message says which sum is off."""


class LineRefused(Exception):
    """One line cannot become events. `reason` is a rule name for counting, `detail` says more in words.

    `line` is the line at fault where it is not the one being worked on: an aggregate met it among its group's lines.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.line: Any = None


@dataclass(frozen=True)
class Where:
    """A place in a mapping file, for messages: `mapping.yaml: values.price`."""

    file: str
    path: str = ""

    def __truediv__(self, key: object) -> "Where":
        step = f"[{key}]" if isinstance(key, int) else (f".{key}" if self.path else str(key))
        return Where(self.file, self.path + step)

    def error(self, message: str) -> MappingError:
        return MappingError(f"{self.file}: {self.path or 'top level'}: {message}")

    def unknown(self, kind: str, seen: object, known: Iterable[str]) -> MappingError:
        """An error that lists what is known and, if one is near, what was probably meant."""
        names = sorted(known)
        near = difflib.get_close_matches(str(seen), names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return self.error(f"unknown {kind} {seen!r}{hint} Known: {', '.join(names) or 'none'}")
