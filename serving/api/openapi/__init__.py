"""What OpenAPI says about each route, derived from the declarations of metrics and contracts. Pure."""

from serving.api.openapi.events import EVENTS, event_body
from serving.api.openapi.metrics import CATALOGUE, rows_parameters, rows_responses, top_parameters
from serving.api.openapi.parts import STRING, answers, objects, problem
from serving.api.openapi.state import EXACTNESS, FRESHNESS, LAG, LIVE, LIVE_PARAMETERS, STATUS

__all__ = [
    "CATALOGUE",
    "EVENTS",
    "EXACTNESS",
    "FRESHNESS",
    "LAG",
    "LIVE",
    "LIVE_PARAMETERS",
    "STATUS",
    "STRING",
    "answers",
    "event_body",
    "objects",
    "problem",
    "rows_parameters",
    "rows_responses",
    "top_parameters",
]
