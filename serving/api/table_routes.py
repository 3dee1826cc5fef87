"""GET /v1/tables…: the data dictionary with the size of tables and views, and rows; GET /v1/lake: how far the lake is.

Reads the lake of the live generation at one manifest, which every answer names.
"""

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.api_keys import Scope
from schemas.tables import RELATIONS
from schemas.view import Relation
from serving.api import openapi
from serving.api.answers import PROCESS, answer, unchanged
from serving.api.auth import demand
from serving.api.lake.asked import AsOfAsked, parse_as_of, parse_rows
from serving.api.lake.cursor import Cursor
from serving.api.lake.told import Told
from serving.api.lake.work import Budget
from serving.api.problems import Problem, bad_query
from serving.api.query_string import named, whole_number
from serving.api.service import Service, Starting, service_of
from serving.lake.dictionary import describe, dictionary
from serving.lake.progress import progress
from serving.lake.question import Page, Question
from serving.lake.question import answer as rows_of
from serving.lake.reader import Lake, NoLake
from serving.read import AsOf, Rebuilding
from serving.read.reader import iso_micros
from streams.lake.manifest import Manifest

RECENT, RECENT_AT_MOST = 20, 1_000
router = APIRouter(tags=["lake"])


@router.get(
    "/v1/tables",
    summary="The tables and views of the lake: data dictionary, sizes, versions",
    responses=openapi.TABLES,
    openapi_extra=openapi.TABLES_PARAMETERS,
)
async def tables(request: Request) -> Response:
    """Always 200 for the newest: without a lake `facts` and `as_of` are null, and `detail` says why.

    `rows` is null of a table that could not be counted in time. What takes long to count is not counted at each
    manifest, unless one is asked for: `rows_at` is the one that it was counted at.
    """
    service = service_of(request)
    asked = parse_as_of(request.query_params.multi_items(), service.zone)
    documents = dictionary()
    try:
        generation = generation_of(service)
        book = service.lake.book(generation)

        def facts(budget: Budget) -> Response | tuple[Manifest, dict[str, Any]]:
            manifest = chosen(service.lake.lake(generation), generation, asked, service.lake.told)
            if (known := unchanged(request.headers, etag(manifest))) is not None:
                return known
            exact = asked != AsOfAsked()
            return manifest, book.read(manifest, budget.may_go_on, budget.limited, exact=exact)

        found = await service.lake.run(facts)
    except (NoLake, Rebuilding, Starting) as error:
        body = [{**document, "facts": None} for document in documents]
        return answer({"tables": body, "detail": str(error), "as_of": None})
    if isinstance(found, Response):
        return found
    manifest, known = found
    body = [
        {**document, "facts": (each := known[document["name"]]) and each.as_json()} for document in documents
    ]
    # What could not be counted in time, or is not counted at each manifest, may be next time.
    complete = all(each and each.rows_at == manifest.number for each in known.values())
    document = {"tables": body, "detail": None, "as_of": as_of_document(manifest)}
    return answer(document, tag=etag(manifest) if complete else None)


@router.get(
    "/v1/tables/{name}",
    summary="Rows of a table or view",
    responses=openapi.TABLE_ROWS,
    openapi_extra=openapi.TABLE_ROWS_PARAMETERS,
)
async def rows(request: Request) -> Response:
    """In the order of the table's key, or of where its rows come from. All pages of a cursor are of one manifest.

    Any column but those of bytes is a filter: `column=value`, several times for one of several, empty for null.
    """
    service, table = service_of(request), table_of(request)
    asked = parse_rows(table, request.query_params.multi_items(), service.zone)
    if asked.question.reveal:
        demand(request, Scope.ADMIN)
    generation, as_of = generation_of(service), asked.as_of
    if asked.cursor is not None:
        as_of = AsOfAsked(number=asked.cursor.manifest)
        if asked.cursor.generation != generation:
            detail = (
                f"the pages before were of generation {asked.cursor.generation}, and now {generation} is live"
            )
            raise Problem(410, "gone", f"{detail}: begin at the first page again")

    def page_of(budget: Budget) -> Response | tuple[Manifest, Page]:
        lake = service.lake.lake(generation)
        manifest = chosen(lake, generation, as_of, service.lake.told)
        if not asked.question.reveal and (known := unchanged(request.headers, etag(manifest))) is not None:
            return known
        return manifest, read_page(lake, manifest, asked.question, budget)

    found = await service.lake.run(page_of)
    if isinstance(found, Response):
        return found
    manifest, page = found
    following = page.next and Cursor(generation, manifest.number, asked.question.descending, page.next)
    body = {
        "table": table.name,
        "columns": list(asked.question.columns),
        "masked": asked.question.masked,
        "rows": page.rows,
        "next": following and following.text(table),
        "as_of": as_of_document(manifest),
    }
    # What is revealed is not for anybody's cache.
    return answer(body, tag=None if asked.question.reveal else etag(manifest))


@router.get(
    "/v1/tables/{name}/columns", summary="The data dictionary of one table or view", responses=openapi.TABLE_COLUMNS,
    openapi_extra=openapi.TABLE_NAME,
)  # fmt: skip
async def columns(request: Request) -> Response:
    """What each column means; the same as in /v1/tables. Needs no lake."""
    table = table_of(request)
    if request.query_params:
        raise bad_query("expected no parameters")
    return answer(describe(table))


@router.get(
    "/v1/lake",
    summary="How far the lake is",
    responses=openapi.LAKE,
    openapi_extra=openapi.LAKE_PARAMETERS,
)
async def lake(request: Request) -> Response:
    """Its newest manifest, what waits in the topics, what became of all records, and the last manifests."""
    service = service_of(request)
    limit = whole_number(
        named(request.query_params.multi_items(), ("limit",)), "limit", RECENT, RECENT_AT_MOST
    )
    generation = generation_of(service)
    recent = await service.lake.recent(generation, limit)
    newest, kafka = service.lake.told.check(recent[0]), service.kafka
    body = {
        **progress(newest, kafka.ends, time.time()),
        "stale": not kafka.is_fresh(time.monotonic()),
        "counts": dict(newest.counts),
        "manifests": [
            {
                "number": each.number,
                "position": sum(each.until.values()),
                "newest_record_time": iso_micros(each.kafka_time) if each.kafka_time else None,
            }
            for each in recent
        ],
        "as_of": as_of_document(newest),
    }
    return answer(body)


def table_of(request: Request) -> Relation:
    """The table or view of the path. Raises Problem."""
    name = request.path_params["name"]
    if name not in RELATIONS:
        known = list(RELATIONS)
        detail = f"expected one of {', '.join(known)}; saw {name[:60]!r}"
        raise Problem(404, "unknown-table", detail, known=known)
    return RELATIONS[name]


def etag(manifest: Manifest) -> str:
    """Of any answer of one URL that is a function of a manifest.

    One that is said anew has the same rows at higher versions. Weak, because `age_ms` grows meanwhile.
    """
    return f'W/"{manifest.generation}-{manifest.number}-{sum(manifest.tables.values())}-{PROCESS}"'


def generation_of(service: Service) -> str:
    """The live generation's name. Raises Starting."""
    return service.reader.generation


def chosen(lake: Lake, generation: str, asked: AsOfAsked, told: Told) -> Manifest:
    """Raises NoLake, NoSuchManifest, Rebuilding; Problem where a manifest of another generation is meant."""
    if asked.generation not in (None, generation):
        detail = f"{asked.generation}-{asked.number} is a manifest of generation {asked.generation}, and now "
        raise Problem(410, "gone", f"{detail}{generation} is live: ask for the newest, or for one of that")
    if asked.number is not None:
        return lake.at(asked.number)
    return told.newest(lake) if asked.time is None else lake.before(asked.time)


def read_page(lake: Lake, manifest: Manifest, question: Question, budget: Budget) -> Page:
    """Raises Gone, and what DuckDB raises when it is stopped."""
    with lake.open(manifest, question.table) as connection:
        return rows_of(budget.limited(connection), question)


def as_of_document(manifest: Manifest) -> dict[str, Any]:
    """What an answer is a function of."""
    newest_event = max(manifest.newest.values(), default=0)
    as_of = AsOf(manifest.generation, manifest.until, newest_event, manifest.kafka_time)
    return {**as_of.as_json(), "manifest": manifest.number}
