"""An event as a record of any schema, in the bytes that a producer with that schema sends. Pure."""

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro

from sources.codec import HEADER, MAGIC


def encoded(schema: Mapping[str, Any], schema_id: int, body: Mapping[str, Any]) -> bytes:
    """`body` has a value for each field of `schema` that has no default."""
    out = io.BytesIO()
    # fastavro marks what it has parsed, and takes the mark for parsed.
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), body)
    return HEADER.pack(MAGIC, schema_id) + out.getvalue()
