"""The lake: its tables, their rows, how far it is. Pure."""

from typing import Any

from schemas.tables import RELATIONS
from serving.api.lake.asked import LIMIT, LIMIT_AT_MOST, ORDERS
from serving.api.openapi.parts import (
    AS_OF as LIVE_AS_OF,
)
from serving.api.openapi.parts import (
    AUTH,
    BOOLEAN,
    STRING,
    TIME,
    WHOLE,
    Schema,
    answers,
    link,
    objects,
    or_null,
    problem,
)

STRINGS: Schema = {"type": "array", "items": STRING}
AS_OF: Schema = {
    **objects(
        {**LIVE_AS_OF["properties"], "manifest": {**WHOLE, "description": "Number of the lake's manifest."}}
    ),
    "description": LIVE_AS_OF["description"],
}
_COLUMN = objects(
    {
        "name": STRING,
        "type": STRING,
        "nullable": BOOLEAN,
        "unit": or_null(STRING),
        "personal": {**BOOLEAN, "description": "Masked unless it is revealed."},
        "doc": STRING,
        "source": STRING,
    }
)
_DICTIONARY: dict[str, Schema] = {
    "name": STRING,
    "layer": {"enum": ["bronze", "silver", "gold", "view"]},
    "doc": STRING,
    "topic": or_null(STRING),
    "reads": {**STRINGS, "description": "Of a view: the tables that it is made of."},
    "sql": {**or_null(STRING), "description": "Of a view: how, in DuckDB's dialect."},
    "key": STRINGS,
    "order": {**STRINGS, "description": "What names a row, by which rows are in order."},
    "href": STRING,
    "columns": {"type": "array", "items": _COLUMN},
}
_FACTS = objects(
    {
        "version": {**or_null(WHOLE), "description": "Delta version; a view has none, and no files."},
        "rows": {**or_null(WHOLE), "description": "Null if they could not be counted in time."},
        "rows_at": {**or_null(WHOLE), "description": "The manifest at which they were counted."},
        "stored_rows": {
            **or_null(WHOLE),
            "description": "With the older rows of each key, which the files hold too.",
        },
        "files": or_null(WHOLE),
        "bytes": or_null(WHOLE),
        "written_at": or_null(TIME),
    }
)


def _parameter(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_AS_OF_PARAMETER = _parameter(
    "as_of",
    {
        **STRING,
        "description": "The number of a manifest, alone or behind its generation (`g1-812`; 410 if another one is "
        "live by now), or a time: the last manifest without a later record.",
    },
)
_NAME = {"name": "name", "in": "path", "required": True, "schema": {**STRING, "enum": list(RELATIONS)}}
TABLE_NAME = {"parameters": [_NAME]}
_WRONG = {400: problem("A parameter is wrong; `errors` name it.")}
_CHOICE = {
    404: problem("No such table, or no such manifest."),
    410: problem("The lake was so once; the files of that version are removed."),
}
_SAME = {304: {"description": "The manifest is that of If-None-Match."}}
_BUSY = {
    503: problem(
        "There is no lake yet, or too many ask, or the answer would take too long or too much: see `type`."
    )
}

_FIRST = "$response.body#/tables/0/name"
TABLES: dict[int | str, Any] = {
    200: {
        **answers(
            objects(
                {
                    "tables": {"type": "array", "items": objects({**_DICTIONARY, "facts": or_null(_FACTS)})},
                    "detail": {**or_null(STRING), "description": "Why there are no facts."},
                    "as_of": or_null(AS_OF),
                }
            ),
            "All tables and views.",
        ),
        "links": {
            "rows": link("/v1/tables/{name}", "The rows of one of them.", name=_FIRST),
            "columns": link("/v1/tables/{name}/columns", "What its columns mean.", name=_FIRST),
        },
    },
    **_SAME,
    **_WRONG,
    **AUTH,
    **_CHOICE,
    **_BUSY,
}
TABLES_PARAMETERS = {"parameters": [_AS_OF_PARAMETER]}
TABLE_COLUMNS: dict[int | str, Any] = {
    200: answers(objects(_DICTIONARY), "What it is, and what its columns mean."),
    **_WRONG,
    **AUTH,
    404: problem("No such table."),
}
TABLE_ROWS: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                "table": STRING,
                "columns": STRINGS,
                "masked": {**STRINGS, "description": "The columns whose values are hidden: personal data."},
                "rows": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "Decimals, days and times are text, bytes hexadecimal.",
                },
                "next": {**or_null(STRING), "description": "The cursor of the next page; null on the last."},
                "as_of": AS_OF,
            }
        ),
        "Rows, in order.",
    ),
    **_SAME,
    **_WRONG,
    **AUTH,
    **_CHOICE,
    **_BUSY,
}
TABLE_ROWS_PARAMETERS = {
    "parameters": [
        _NAME,
        _parameter("columns", {**STRING, "description": "Only these: names with commas between."}),
        _parameter("limit", {**WHOLE, "minimum": 1, "maximum": LIMIT_AT_MOST, "default": LIMIT}),
        _parameter(
            "cursor", {**STRING, "description": "`next` of the page before, with the same other parameters."}
        ),
        _parameter("order", {"enum": list(ORDERS), "default": "asc"}),
        _AS_OF_PARAMETER,
        _parameter("reveal", {**BOOLEAN, "description": "With personal data and bytes; scope admin."}),
        {
            **_parameter("filters", {"type": "object", "additionalProperties": STRING}),
            "style": "form",
            "explode": True,
            "description": "column=value, in the column's type; empty: null; several of one: any of them.",
        },
    ]
}
_BEHIND: dict[str, Schema] = {
    "batch": WHOLE,
    "records_behind": WHOLE,
    "by_topic": {"type": "object", "additionalProperties": WHOLE},
    "freshness_ms": or_null(WHOLE),
    "newest_record_time": or_null(TIME),
}
LAKE: dict[int | str, Any] = {
    200: answers(
        objects(
            {
                **_BEHIND,
                "stale": {
                    **BOOLEAN,
                    "description": "Whether the broker has not told its log ends for a while.",
                },
                "counts": {
                    "type": "object",
                    "additionalProperties": WHOLE,
                    "description": "Records by topic/partition/outcome.",
                },
                "manifests": {
                    "type": "array",
                    "items": objects(
                        {"number": WHOLE, "position": WHOLE, "newest_record_time": or_null(TIME)}
                    ),
                },
                "as_of": AS_OF,
            }
        ),
        "The newest manifest, and the last ones.",
    ),
    **_WRONG,
    **AUTH,
    **_BUSY,
}
LAKE_PARAMETERS = {
    "parameters": [_parameter("limit", {**WHOLE, "minimum": 1, "maximum": 1_000, "default": 20})]
}
