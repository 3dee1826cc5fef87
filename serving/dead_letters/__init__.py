"""The dead letters as people and programs look at them: found, counted, and shown without personal data.

Reads `<env>.g1.events.dead_letter`, which the generation's materializer writes, and `<env>.events.dead_letter`, which
the file import writes.
"""

from serving.dead_letters.document import content_of, letter_document, summary_rows
from serving.dead_letters.filters import FILTERS, PARTITION_AT_MOST, BadFilter, parse_wanted
from serving.dead_letters.letter import At, DeadLetter, Order, describe_reason
from serving.dead_letters.original import hex_dump, key_text, shown_bytes
from serving.dead_letters.originals import Originals
from serving.dead_letters.reveal import Content, Writer, reveal, writers_of
from serving.dead_letters.scan import Read, Wanted, copies_of, newest, read_letters, summarize
from serving.dead_letters.topics import LetterTopics, served_letters

__all__ = [
    "FILTERS",
    "PARTITION_AT_MOST",
    "At",
    "BadFilter",
    "Content",
    "DeadLetter",
    "LetterTopics",
    "Order",
    "Originals",
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
    "served_letters",
    "shown_bytes",
    "summarize",
    "summary_rows",
    "writers_of",
]
