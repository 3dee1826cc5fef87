"""The log file of each process: `{state_dir}/logs/NAME.log`, the one before it `NAME.log.1`."""

import shutil
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 20 * 1024 * 1024


class Logs:
    """Log files of one state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """The file that a process writes to."""
        return self._directory / f"{name}.log"

    def begin(self, name: str) -> None:
        """A new run begins: what the run before wrote moves aside."""
        if self.path(name).exists():
            self.path(name).replace(self._previous(name))

    def note(self, name: str, text: str) -> None:
        """A line of the supervisor's own in a process's log, where it is looked for."""
        with suppress(OSError), self.path(name).open("a", encoding="utf-8") as file:
            file.write(f"--- {name}: {text}\n")

    def rotate(self, name: str) -> None:
        """Keep a file below MAX_BYTES. The process holds it open for appending, so it is copied and cut."""
        try:
            if self.path(name).stat().st_size > MAX_BYTES:
                shutil.copyfile(self.path(name), self._previous(name))
                with self.path(name).open("r+b") as file:
                    file.truncate(0)
        except FileNotFoundError:
            return

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines, for an error message."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(max(0, self.path(name).stat().st_size - 16_384))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _previous(self, name: str) -> Path:
        return self._directory / f"{name}.log.1"
