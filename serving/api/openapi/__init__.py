"""What OpenAPI says about each route, derived from the declarations of metrics and contracts. Pure."""

from serving.api.openapi.dead_letters import (
    LETTER,
    LETTER_FILTERS,
    LETTER_PARAMETERS,
    LETTER_SUMMARY,
    LETTERS,
    LETTERS_PARAMETERS,
    REDRIVE,
    REDRIVE_BODY,
)
from serving.api.openapi.events import EVENTS, event_body
from serving.api.openapi.metrics import CATALOGUE, rows_parameters, rows_responses, top_parameters
from serving.api.openapi.newest import NEWEST, NEWEST_PARAMETERS
from serving.api.openapi.parts import STRING, answers, objects, problem
from serving.api.openapi.state import EXACTNESS, FRESHNESS, KEY, LAG, LIVE, LIVE_PARAMETERS, STATUS
from serving.api.openapi.tables import (
    LAKE,
    LAKE_PARAMETERS,
    TABLE_COLUMNS,
    TABLE_NAME,
    TABLE_ROWS,
    TABLE_ROWS_PARAMETERS,
    TABLES,
    TABLES_PARAMETERS,
)

__all__ = [
    "CATALOGUE",
    "EVENTS",
    "EXACTNESS",
    "FRESHNESS",
    "KEY",
    "LAG",
    "LAKE",
    "LAKE_PARAMETERS",
    "LETTER",
    "LETTERS",
    "LETTERS_PARAMETERS",
    "LETTER_FILTERS",
    "LETTER_PARAMETERS",
    "LETTER_SUMMARY",
    "LIVE",
    "LIVE_PARAMETERS",
    "NEWEST",
    "NEWEST_PARAMETERS",
    "REDRIVE",
    "REDRIVE_BODY",
    "STATUS",
    "STRING",
    "TABLES",
    "TABLES_PARAMETERS",
    "TABLE_COLUMNS",
    "TABLE_NAME",
    "TABLE_ROWS",
    "TABLE_ROWS_PARAMETERS",
    "answers",
    "event_body",
    "objects",
    "problem",
    "rows_parameters",
    "rows_responses",
    "top_parameters",
]
