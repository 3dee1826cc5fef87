"""The file importer: CSV files to events of the contracts, by a YAML mapping that the user writes.

Reads the files, the mapping and its look-up tables; hands events and refused lines to a sink. `docs/importing.md` is
the reference of the mapping.
"""

from sources.importer.account import Account
from sources.importer.engine import Importer
from sources.importer.errors import AccountingError, InputError, MappingError
from sources.importer.mapping import Mapping, load_mapping
from sources.importer.sinks import DrySink, KafkaSink, RefusedLine, Sink

__all__ = [
    "Account",
    "AccountingError",
    "DrySink",
    "Importer",
    "InputError",
    "KafkaSink",
    "Mapping",
    "MappingError",
    "RefusedLine",
    "Sink",
    "load_mapping",
]
