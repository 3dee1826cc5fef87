"""The dead letters as people and programs look at them: found, counted, and shown without personal data.

Reads `<env>.events.dead_letter`, which the materializer and the file import write.
"""

from serving.dead_letters.document import content_of, letter_document, summary_rows
from serving.dead_letters.filters import FILTERS, PARTITION_AT_MOST, BadFilter, parse_wanted
from serving.dead_letters.letter import DeadLetter, describe_reason
from serving.dead_letters.original import hex_dump, key_text, shown_bytes
from serving.dead_letters.reveal import Content, Writer, reveal, writers_of
from serving.dead_letters.scan import Order, Read, Wanted, copies_of, newest, read_letters, summarize

__all__ = [
    "FILTERS",
    "PARTITION_AT_MOST",
    "BadFilter",
    "Content",
    "DeadLetter",
    "Order",
    "Read",
    "Wanted",
    "Writer",
    "content_of",
    "copies_of",
    "describe_reason",
    "hex_dump",
    "key_text",
    "letter_document",
    "newest",
    "parse_wanted",
    "read_letters",
    "reveal",
    "shown_bytes",
    "summarize",
    "summary_rows",
    "writers_of",
]
