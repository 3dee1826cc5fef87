"""The original bytes and headers of a dead letter: how much may be shown unasked, and as what. Pure."""

import re

from schemas.contract import CONTRACTS, UUID_PATTERN
from serving.dead_letters.letter import MASK, REDRIVEN_FROM, DeadLetter
from serving.dead_letters.reveal import Content
from sources.codec import HEADER, MAGIC

EXCERPT_BYTES = 16  # the header and a little of what follows it; more may hold personal data
ROW_BYTES = 16
# Python before 3.14 does not know \z; fullmatch does the same.
UUID = re.compile(UUID_PATTERN.removesuffix(r"\z"))


def shown_bytes(letter: DeadLetter, content: Content | None, *, everything: bool) -> bytes:
    """What may be shown of the original bytes without being asked for `everything`.

    Of a record that could not be decoded its beginning, which tells what it is; of the others nothing is needed. Where
    a topic has personal data that is the header, if there is one; a line of a file has none.
    """
    value = letter.value or b""
    if everything:
        return value
    if content is None or content.fields:
        return b""
    contract = CONTRACTS.get(letter.source_topic)
    if contract is not None and not contract.pii_fields:
        return value[:EXCERPT_BYTES]
    return value[: HEADER.size] if value[:1] == bytes([MAGIC]) else b""


def key_text(letter: DeadLetter, *, everything: bool) -> str | None:
    """The source record's key: an id as it is, anything else only on request, for it may be an address."""
    if letter.key is None:
        return None
    text = letter.key.decode("utf-8", "backslashreplace")
    return text if everything or UUID.fullmatch(text) else MASK


def shown_headers(letter: DeadLetter, *, everything: bool) -> list[dict[str, str | None]]:
    """The source record's own headers, in their order; values only on request where the topic has personal data."""
    contract = CONTRACTS.get(letter.source_topic)
    hidden = not everything and (contract is None or bool(contract.pii_fields))
    return [{"name": name, "value": _header_text(name, value, hidden)} for name, value in letter.headers]


def _header_text(name: str, value: bytes | None, hidden: bool) -> str | None:
    if value is None:
        return None
    # Which a re-drive wrote: a place.
    return MASK if hidden and name != REDRIVEN_FROM else value.decode("utf-8", "backslashreplace")


def hex_dump(data: bytes, *, text: bool) -> list[str]:
    """Rows of 16 bytes, with what they are in ASCII beside them if `text`."""
    rows = []
    for at in range(0, len(data), ROW_BYTES):
        row = data[at : at + ROW_BYTES]
        line = f"{at:08x}  {row.hex(' '):<{3 * ROW_BYTES}}"
        if text:
            line += " " + "".join(chr(c) if 0x20 <= c < 0x7F else "." for c in row)
        rows.append(line.rstrip())
    return rows
