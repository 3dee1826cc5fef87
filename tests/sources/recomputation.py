"""A plain recomputation of every figure and verdict from delivered records: decode, judge by the contract, fold.

It shares no code with the generator, whose ground truth it is held against, nor with what serves the figures.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.contract import CONTRACTS
from sources.codec import EventCodec
from tests.sources.generator_kit import ARRIVAL, CODEC, reasons

Record = tuple[str, bytes | None, bytes | None]
METRICS = ("revenue", "items", "payments", "customers", "reviews", "funnel", "clicks")


class Recomputed:
    """All verdicts and figures of (topic, key, value) records that come in their partitions' order.

    `cancelled` are the states of an order that `revenue` counts as such.
    """

    cancelled = ("cancelled",)

    def __init__(
        self, records: Iterable[Record], codec: EventCodec = CODEC, arrival: datetime = ARRIVAL
    ) -> None:
        self.codec = codec
        self.arrival = arrival
        self.verdicts = defaultdict(Counter)
        self.applied = defaultdict(dict)  # (topic, entity) → version → event
        self.seen = {}  # (session, event id) → event
        for topic, key, value in records:
            self.verdicts[topic]["records"] += 1
            self.verdicts[topic][self.judge(topic, key, value)] += 1

    def judge(self, topic, key, value) -> str:
        if reasons(topic, key, value, self.arrival, self.codec):
            return "refused"
        event = self.codec.decode(topic, value)
        if topic == "clickstream":
            identity = (event["session_id"], event["event_id"])
            known = identity in self.seen
            self.seen.setdefault(identity, event)
            return "repeat" if known else "changed"
        versions = self.applied[topic, event[CONTRACTS[topic].entity_id]]
        highest = max(versions, default=-1)
        if event["version"] > highest:
            versions[event["version"]] = event
            return "changed"
        if event["version"] < highest:
            return "superseded"
        return "repeat" if versions[highest] == event else "refused"

    def current(self, topic):
        latest = [versions[max(versions)] for (of, _), versions in self.applied.items() if of == topic]
        return [event for event in latest if event["op"] != "d"]

    def rows(self, metric, grain, tz):
        rows = defaultdict(Counter)
        for at, dimensions, name, number in getattr(self, metric)():
            rows[start_of(at, grain, tz), *dimensions][name] += number
        return {key: row for key, row in rows.items() if any(row.values())}

    def revenue(self):
        for o in self.current("orders"):
            key = (o["payment_method"], o["shipping_country"] or "")
            yield o["order_date"], key, "orders", 1
            yield o["order_date"], key, "gross", int(o["total_amount"] * 100)
            for name, states in (("cancelled", self.cancelled), ("refunded", ("refunded",))):
                if o["status"] in states:
                    yield o["order_date"], key, name, int(o["total_amount"] * 100)

    def items(self):
        for i in self.current("order_items"):
            amount = int((i["unit_price"] * i["quantity"] - i["discount"]) * 100)
            for name, number in (("revenue", amount), ("units", i["quantity"]), ("lines", 1)):
                yield i["created_at"], (i["product_id"],), name, number

    def payments(self):
        for p in self.current("payments"):
            yield p["created_at"], (p["payment_method"],), p["payment_status"], 1
            if p["payment_status"] == "succeeded":
                yield p["created_at"], (p["payment_method"],), "paid", int(p["amount"] * 100)

    def customers(self):
        for c in self.current("customers"):
            yield c["created_at"], (c["country"] or "",), "new_customers", 1

    def reviews(self):
        for r in self.current("reviews"):
            yield r["created_at"], (r["product_id"],), "reviews", 1
            yield r["created_at"], (r["product_id"],), "stars", r["rating"]

    def clicks(self):
        for c in self.seen.values():
            yield c["occurred_at"], (c["event_type"], c["device"]), "events", 1

    def funnel(self):
        stages = defaultdict(list)
        for c in self.seen.values():
            stages[c["session_id"], c["event_type"]].append(c["occurred_at"])
        for (_, stage), times in stages.items():
            if stage in ("product_view", "add_to_cart", "checkout", "purchase"):
                yield min(times), (), stage, 1

    def active(self):
        newest = max(c["occurred_at"] for c in self.seen.values())
        recent = [c for c in self.seen.values() if c["occurred_at"] > newest - timedelta(minutes=30)]
        yield newest, (), "sessions", len({c["session_id"] for c in recent})
        yield newest, (), "visitors", len({c["visitor_id"] for c in recent})


def start_of(at: datetime, grain: str, tz: str) -> int:
    if grain == "all":
        return 0
    if grain == "day":
        day = at.astimezone(ZoneInfo(tz)).date()
        return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(tz)).timestamp())
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    return int((at if grain == "minute" else at.replace(minute=0)).timestamp())
