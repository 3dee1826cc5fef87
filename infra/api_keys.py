"""API keys as values, parsed from the setting DATAFLOW_API_KEYS (`name:secret:read+write,…`)."""

from dataclasses import dataclass, field
from enum import StrEnum

MIN_SECRET_LENGTH = 8


class Scope(StrEnum):
    """What the holder of a key may do."""

    READ = "read"
    "Metrics, entities, status, push."
    WRITE = "write"
    "Send events."
    ADMIN = "admin"
    "Everything, also what changes the service itself."


@dataclass(frozen=True)
class ApiKey:
    """One key; its secret is masked when printed."""

    name: str
    secret: str = field(repr=False)
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Whether this key may do what `scope` covers; admin covers all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def parse_api_keys(text: str) -> tuple[ApiKey, ...]:
    """Keys of `name:secret:scope+scope,…`; the secret may contain ':' but no ','.

    Raises ValueError that names the key, never its secret.
    """
    keys = tuple(_parse(part.strip(), n) for n, part in enumerate(text.split(","), 1) if part.strip())
    names = [key.name for key in keys]
    if len(set(names)) < len(names):
        raise ValueError(
            f"every key needs its own name, these repeat: {sorted({n for n in names if names.count(n) > 1})}"
        )
    if len({key.secret for key in keys}) < len(keys):
        raise ValueError("every key needs its own secret, and one repeats")
    return keys


def _parse(part: str, number: int) -> ApiKey:
    name, _, rest = part.partition(":")
    secret, _, scopes = rest.rpartition(":")
    if not name or not secret:
        raise ValueError(f"key {number}: expected name:secret:scopes")
    if len(secret) < MIN_SECRET_LENGTH:
        raise ValueError(f"key {name!r}: the secret is shorter than {MIN_SECRET_LENGTH} characters")
    try:
        return ApiKey(name, secret, frozenset(Scope(scope) for scope in scopes.split("+")))
    except ValueError:
        raise ValueError(f"key {name!r}: expected scopes of read, write, admin joined by '+'") from None
