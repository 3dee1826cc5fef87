"""How large what is judged and written may be, whoever evaluates it: Spark, or plain Python."""

# A dead letter keeps at most this much of a record that is too large; its source offset names the rest.
EXCERPT_BYTES = 4096
KEY_BYTES = 1024
# The record's own headers are kept whole, or not at all: what is left out is marked as truncated too.
HEADERS_BYTES = 8192
# In front of their names, so that none is taken for one of the letter's.
OWN_HEADER = "record:"
# Below the 1 MiB of a broker or producer that is not told otherwise, with room for key, place and framing.
OUTPUT_BYTES = 1_000_000
VERDICT_TOO_LARGE = "verdict_too_large"


def event_bytes(max_bytes: int) -> int:
    """How many bytes of JSON an accepted event may be, without its personal data, where a record may be `max_bytes`."""
    return min(2 * max_bytes, OUTPUT_BYTES)


def may_exceed(size: int, limit: int) -> bool:
    """Whether a record of `size` bytes can make more JSON than `limit`; works on numbers and on Spark's columns.

    JSON takes up to six bytes for a control character of one; names and numbers of a whole event some hundreds.
    """
    return 6 * size + 10_000 > limit
