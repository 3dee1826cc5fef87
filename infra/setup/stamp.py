"""A stamp of a checked directory: sha256, size and change time of every file.

A start compares sizes and times (a few milliseconds for 700 files) and hashes only what differs, so that a damaged or
exchanged file is found without reading 200 MB each time.
"""

import hashlib
import json
from pathlib import Path

from schemas.errors import SetupError

NAME = "stamp.json"


def sha256(file: Path) -> str:
    """Hex digest of a file's content."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write(directory: Path) -> None:
    """Record the files of `directory`, which the caller has just checked."""
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file.name != NAME)
    entries = {str(file.relative_to(directory)): [sha256(file), *_size_and_time(file)] for file in files}
    (directory / NAME).write_text(json.dumps(entries, indent=0))


def check(directory: Path) -> None:
    """Raise SetupError that names the first file which is missing or no longer what was stamped; it is removed."""
    try:
        entries = json.loads((directory / NAME).read_text())
    except (OSError, ValueError):
        raise SetupError(
            f"{directory} has no readable {NAME}. Run `make setup`, which brings it again."
        ) from None
    touched = False
    for name, (digest, *size_and_time) in entries.items():
        file = directory / name
        if not file.is_file():
            raise SetupError(f"{file} is missing. Run `make setup`, which brings it again.")
        if _size_and_time(file) == size_and_time:
            continue
        if (found := sha256(file)) != digest:
            file.unlink()
            raise SetupError(
                f"{file} was changed since it was checked: expected sha256 {digest}, found {found}. "
                "It was removed. Run `make setup`, which brings it again."
            )
        entries[name] = [digest, *_size_and_time(file)]
        touched = True
    if touched:
        draft = directory / f"{NAME}.draft"
        draft.write_text(json.dumps(entries, indent=0))
        draft.replace(directory / NAME)


def _size_and_time(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
