"""GET /v1/dead-letters…: what was refused and why, without personal data; POST …/redrive puts records back.

Reads the dead letters and, to decode, the registry. A re-drive writes source topics.
"""

import logging
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.api_keys import Scope
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from serving.api import body, openapi
from serving.api.answers import answer
from serving.api.auth import demand
from serving.api.letters.asked import (
    RedriveAsked,
    cursor,
    parse_bytes,
    parse_filters,
    parse_page,
    parse_redrive,
)
from serving.api.letters.scans import Limit, TooSlow
from serving.api.problems import Problem, as_problem, bad_query
from serving.api.service import Service, service_of
from serving.dead_letters import Originals, Read, content_of, letter_document, summary_rows
from serving.dead_letters.redrive import Redriver

BODY_AT_MOST = 65_536
router = APIRouter(tags=["dead letters"])
log = logging.getLogger("dataflow.api")


@router.get(
    "/v1/dead-letters",
    summary="Dead letters, newest first",
    responses=openapi.LETTERS,
    openapi_extra=openapi.LETTERS_PARAMETERS,
)
async def letters(request: Request) -> Response:
    """Those of the generation that is served, and of imports. Each once, however often it was written.

    `next` is the cursor of the next page, null on the last.
    """
    service = service_of(request)
    page = parse_page(request.query_params.multi_items(), service.zone)
    before = page.before and page.before.order
    found = await service.scans.read(
        lambda within: service.letters.newest(page.wanted, page.limit, before, within)
    )
    if page.before is not None and page.before.generation != found.generation:
        detail = f"the pages before were of generation {page.before.generation}, and now {found.generation} is served"
        raise Problem(410, "gone", f"{detail}: begin at the first page again")
    rows = [{**each.as_json(), "redriven": each.id in found.redriven} for each in found.letters]
    next_page = cursor(found.generation, found.letters[-1]) if found.more else None
    body = {"generation": found.generation, "letters": rows, "next": next_page}
    return answer({**body, "as_of": await service.as_of()})


@router.get(
    "/v1/dead-letters/summary",
    summary="How many dead letters by topic and reason",
    responses=openapi.LETTER_SUMMARY,
    openapi_extra=openapi.LETTER_FILTERS,
)
async def summary(request: Request) -> Response:
    """A letter with several reasons counts under each, and once in `letters`."""
    service = service_of(request)
    wanted = parse_filters(request.query_params.multi_items(), service.zone)
    found = await service.scans.read(lambda within: service.letters.summarize(wanted, within))
    body = {"generation": found.generation, "letters": found.letters, "summary": summary_rows(found.counts)}
    return answer({**body, "as_of": await service.as_of()})


@router.get(
    "/v1/dead-letters/{id:path}",
    summary="One dead letter",
    responses=openapi.LETTER,
    openapi_extra=openapi.LETTER_PARAMETERS,
)
async def letter(request: Request) -> Response:
    """Its record decoded as far as it can be, personal data masked. The id is topic/partition/offset, or file:line."""
    service, letter_id = service_of(request), request.path_params["id"]
    everything = parse_bytes(request.query_params.multi_items())
    if everything:
        demand(request, Scope.ADMIN)
    found = await service.scans.read(lambda within: _document(service, letter_id, everything, within))
    if found is None:
        detail = (
            "expected the id of a dead letter, such as orders/0/1234 or file:line; there is none with this id"
        )
        raise Problem(404, "unknown-letter", detail)
    return answer({**found, "as_of": await service.as_of()})


def _document(service: Service, letter_id: str, everything: bool, within: Limit) -> dict[str, Any] | None:
    copies, redriven = service.letters.copies(letter_id, within)
    if not copies:
        return None
    newest_copy, whole = copies[-1], None
    if everything and newest_copy.truncated and not newest_copy.is_import:
        # Gone, or its topic was created again: what the letter keeps is shown.
        with suppress(Unavailable, GenerationError), Originals(service.settings) as originals:
            whole = originals.whole(newest_copy)
    content = content_of(service.settings, whole or newest_copy)
    found = letter_document(newest_copy, copies, content, everything, whole)
    return {**found, "redriven": redriven}


@router.post(
    "/v1/dead-letters/redrive",
    summary="Put refused records back into their source topics",
    responses=openapi.REDRIVE,
    openapi_extra=openapi.REDRIVE_BODY,
)
async def redrive(request: Request) -> Response:
    """Each goes back once, however often this is asked. A dry run, which only counts, unless `dry_run` is false."""
    service = service_of(request)
    if request.query_params:
        raise bad_query("expected no parameters: everything stands in the body")
    if body.is_ndjson(request):
        raise Problem(415, "unsupported-media-type", f"expected {body.JSON}: one document", body.CLOSE)
    asked = parse_redrive(await body.read(request, BODY_AT_MOST), service.zone)
    caller = request.scope.get("api_key", "")
    found = await service.scans.redrive(lambda within: _redrive(service.settings, asked, within.read))
    if not asked.dry_run:
        log.info("re-drive by key %r: %s", caller, found)
    return answer({**found, "dry_run": asked.dry_run, "as_of": await service.as_of()})


def _redrive(settings: Settings, asked: RedriveAsked, read: Read) -> dict[str, Any]:
    with Redriver(settings, read) as redriver:
        plan = redriver.plan(asked.wanted, hopeless=asked.hopeless)
        if not asked.dry_run and asked.counted not in (None, len(plan.ready)):
            detail = f"expected {asked.counted:,} records to go back, as was counted; by now it would be "
            raise Problem(
                409, "redrive-changed", f"{detail}{len(plan.ready):,}: count again", **plan.as_json()
            )
        if plan.ready and not asked.dry_run:
            try:
                redriver.run(plan)
            except (Unavailable, TooSlow) as error:
                stopped = as_problem(error)
                # What was put back until then stays so.
                raise Problem(
                    stopped.status, stopped.kind, stopped.detail, stopped.headers, **plan.as_json()
                ) from error
        return plan.as_json()
