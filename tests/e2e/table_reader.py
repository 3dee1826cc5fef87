"""A reader of the lake's tables over REST, which goes along with whichever generation is live."""

from decimal import Decimal
from typing import Any

import httpx

from tests.e2e.asking import Asking

AMOUNTS = ("gross", "cancelled", "refunded")
PAGE = 1_000  # rows
GONE, REFUSED = 410, 503


class TableReader(Asking):
    """Asks all the time, from a thread, and keeps what was wrong with an answer.

    Every `record_outcomes` has as many records as its manifest's offsets; no answer covers less than one before it,
    whatever generation it is of; all pages of one reading are of one manifest. `answers` are the sums of whole readings
    of `fct_orders`, in the form of the answers of `revenue`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, pause=1)
        self.answers: list[dict[str, Any]] = []
        self.refused = 0  # answers that said 503
        self._newest: dict[tuple[str, str], int] = {}

    def generations(self) -> set[str]:
        """Those that whole readings are of."""
        return {each["as_of"]["generation"] for each in self.answers}

    def look(self, http: httpx.Client) -> None:
        self._outcomes(http)
        self._orders(http)

    def _outcomes(self, http: httpx.Client) -> None:
        answer = self._ask(http, "record_outcomes")
        if answer is None:
            return
        counted: dict[str, int] = {}
        for row in answer["rows"]:
            counted[row["topic"]] = counted.get(row["topic"], 0) + row["records"]
        covered = {topic: sum(each.values()) for topic, each in answer["as_of"]["offsets"].items()}
        if answer["next"] or counted != {topic: records for topic, records in covered.items() if records}:
            self.faults.append(f"counted {counted} at {covered}, and {answer['next']}")

    def _orders(self, http: httpx.Client) -> None:
        amounts, orders, first, cursor = dict.fromkeys(AMOUNTS, Decimal(0)), 0, None, {}
        while True:
            page = self._ask(http, "fct_orders", columns=",".join(AMOUNTS), **cursor)
            if page is None:  # of its manifest nobody answers any more: begun anew later
                return
            first = first or page["as_of"]
            of = [
                (as_of["generation"], as_of["manifest"], as_of["offsets"]) for as_of in (first, page["as_of"])
            ]
            if of[0] != of[1]:
                self.faults.append(f"pages of {of[0]} and {of[1]}")
            for row in page["rows"]:
                for name in AMOUNTS:
                    amounts[name] += Decimal(row[name])
            orders += len(page["rows"])
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        sums = {name: f"{amount:.2f}" for name, amount in amounts.items()}
        self.answers.append({"as_of": first, "rows": [{**sums, "orders": orders}] if orders else []})

    def _ask(self, http: httpx.Client, table: str, **parameters: str) -> dict[str, Any] | None:
        try:
            answer = http.get(f"/v1/tables/{table}", params={"limit": PAGE, **parameters})
        except httpx.HTTPError:
            return None
        if answer.status_code == REFUSED:
            self.refused += 1
        elif answer.status_code != GONE or "cursor" not in parameters:
            if answer.status_code != httpx.codes.OK:
                self.faults.append(f"{table}: {answer.status_code}: {answer.text[:300]}")
                return None
            document = answer.json()
            if "cursor" not in parameters:  # else it stays at its manifest
                self._goes_on(document["as_of"])
            return document
        return None

    def _goes_on(self, as_of: dict[str, Any]) -> None:
        for topic, partitions in as_of["offsets"].items():
            for partition, offset in partitions.items():
                before = self._newest.get((topic, partition), 0)
                if offset < before:
                    self.faults.append(
                        f"{topic}/{partition} went back from {before} to {offset} at {as_of['generation']}"
                    )
                self._newest[topic, partition] = max(before, offset)
