"""Ports on loopback: the preferred one if it is free, else another, and the same one again at the next start.

Reads and writes `{state_dir}/ports.json`.
"""

import json
import random
from pathlib import Path

from infra.runtime.door import listen
from schemas.errors import SetupError

HOST = "127.0.0.1"
HIGHEST = 65_535
# Below the range that Linux (32768…) and macOS (49152…) hand out to outgoing connections: a port from there could be
# taken by a client in the moment in which a service is restarted.
FALLBACK = range(20_000, 32_000)


class PortBook:
    """The ports of one state directory."""

    def __init__(self, file: Path, *, use_preferred: bool = True) -> None:
        self._file = file
        self._use_preferred = use_preferred
        try:
            self._remembered: dict[str, int] = json.loads(file.read_text())
        except (OSError, ValueError):
            self._remembered = {}

    def take(self, name: str, preferred: int, host: str = HOST) -> int:
        """A free port for `name`; two names never get the same one."""
        candidates = [self._remembered.get(name), preferred if self._use_preferred else None]
        candidates += random.sample(FALLBACK, 200)
        others = {port for other, port in self._remembered.items() if other != name}
        for port in candidates:
            if port and port <= HIGHEST and port not in others and is_free(port, host):
                self._remembered[name] = port
                self._write()
                return port
        raise SetupError(
            f"no free port on {host} for {name}: {len(candidates)} were tried. Is the machine out of sockets?"
        )

    def _write(self) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(self._remembered, indent=2))
        draft.replace(self._file)


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    try:
        # macOS lets a socket bind beside another one, but not listen.
        listen(host, port).close()
    except OSError:
        return False
    return True
