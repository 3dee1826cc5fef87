"""The ground truth of a run: what every figure of the platform must be, after the records emitted so far.

Kept by the generator from its own intentions, apart from any serving code and from the metrics' declarations, so that
agreement means something. Pure.

A verdict follows from the order within a key: a version above the highest one so far changes the entity; the same
version again with the same content is a repeat, with other content it is refused; a lower version is superseded,
whatever its content (an evaluator keeps the latest version only). A click is a repeat if its session has it already.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from schemas.contract import CONTRACTS
from schemas.errors import DataflowError, Terminal
from sources.generator.emission import Emission, Intent

Grain = Literal["minute", "hour", "day", "all"]
Key = tuple[int | str, ...]
Rows = dict[Key, dict[str, int]]

STAGES = ("product_view", "add_to_cart", "checkout", "purchase")
ACTIVE = timedelta(minutes=30)
VERDICTS = ("records", "changed", "repeat", "superseded", "refused")


class UnknownMetric(DataflowError, Terminal):
    """The ground truth has no such metric or grain."""


class Latest(NamedTuple):
    """An entity's highest version: what tells its content from another, and the columns that figures need."""

    version: int
    content: int
    deleted: bool
    columns: tuple[Any, ...]


class Session:
    """What a session's clicks add up to."""

    __slots__ = ("event_ids", "firsts", "last")

    def __init__(self) -> None:
        self.event_ids: set[str] = set()
        self.firsts: dict[str, datetime] = {}
        self.last: datetime | None = None


COLUMNS: dict[str, tuple[str, ...]] = {
    "orders": ("order_date", "payment_method", "shipping_country", "status", "total_amount"),
    "order_items": ("created_at", "product_id", "quantity", "unit_price", "discount"),
    "payments": ("created_at", "payment_method", "payment_status", "amount"),
    "customers": ("created_at", "country"),
    "reviews": ("created_at", "product_id", "rating"),
    "products": ("created_at", "category"),
}
_COLUMNS_OF = {topic: itemgetter(*names) for topic, names in COLUMNS.items()}


def cents(amount: Decimal) -> int:
    return int(amount.scaleb(2))


# What one row gives: its event time, its dimensions, its measures.
Contribution = tuple[datetime, Key, dict[str, int]]


def _revenue(at: datetime, method: str, country: str | None, status: str, amount: Decimal) -> Contribution:
    owed = cents(amount)
    gone = {
        "cancelled": owed if status == "cancelled" else 0,
        "refunded": owed if status == "refunded" else 0,
    }
    return at, (method, country or ""), {"gross": owed, **gone, "orders": 1}


def _items(
    at: datetime, product_id: str, quantity: int, unit_price: Decimal, discount: Decimal
) -> Contribution:
    return (
        at,
        (product_id,),
        {"revenue": cents(quantity * unit_price - discount), "units": quantity, "lines": 1},
    )


def _payments(at: datetime, method: str, status: str, amount: Decimal) -> Contribution:
    counts = {name: int(status == name) for name in ("succeeded", "failed", "pending", "refunded")}
    return at, (method,), {**counts, "paid": cents(amount) if status == "succeeded" else 0}


def _customers(at: datetime, country: str | None) -> Contribution:
    return at, (country or "",), {"new_customers": 1}


def _reviews(at: datetime, product_id: str, rating: int) -> Contribution:
    return at, (product_id,), {"reviews": 1, "stars": rating}


OF_ENTITIES: dict[str, tuple[str, Callable[..., Contribution]]] = {
    "revenue": ("orders", _revenue),
    "items": ("order_items", _items),
    "payments": ("payments", _payments),
    "customers": ("customers", _customers),
    "reviews": ("reviews", _reviews),
}
METRICS = (*OF_ENTITIES, "funnel", "clicks", "active")
GRAINS: tuple[Grain, ...] = ("minute", "hour", "day", "all")


def grains_of(metric: str) -> tuple[Grain, ...]:
    """The grains in which a metric has rows."""
    return ("all",) if metric == "active" else GRAINS


class GroundTruth:
    """Everything that a run's records add up to. Fed by `record`, read by `rows`, `verdicts` and `categories`."""

    def __init__(self) -> None:
        self._verdicts = {topic: Counter(dict.fromkeys(VERDICTS, 0)) for topic in CONTRACTS}
        self._entities: dict[str, dict[str, Latest]] = {topic: {} for topic in COLUMNS}
        self._sessions: defaultdict[str, Session] = defaultdict(Session)
        self._clicks: Counter[tuple[datetime, str, str]] = Counter()
        self._visitors: dict[str, datetime] = {}  # visitor → newest event

    def record(self, emission: Emission) -> None:
        """Take in the next record, in the order in which the records are produced."""
        if emission.intent in (Intent.MALFORMED, Intent.RULE_BREAKING):
            verdict = "refused"
        elif emission.topic == "clickstream":
            verdict = self._click(emission.event)
        else:
            verdict = self._change(emission)
        counts = self._verdicts[emission.topic]
        counts["records"] += 1
        counts[verdict] += 1

    def _change(self, emission: Emission) -> str:
        topic, event = emission.topic, emission.event
        latest = self._entities[topic]
        entity_id, version = event[CONTRACTS[topic].entity_id], event["version"]
        before = latest.get(entity_id)
        if before is not None and version <= before.version:
            if version < before.version:
                return "superseded"
            return "repeat" if hash(emission.value) == before.content else "refused"
        columns = _COLUMNS_OF[topic](event)
        latest[entity_id] = Latest(version, hash(emission.value), event["op"] == "d", columns)
        return "changed"

    def _click(self, event: dict[str, Any]) -> str:
        session = self._sessions[event["session_id"]]
        if event["event_id"] in session.event_ids:
            return "repeat"
        session.event_ids.add(event["event_id"])
        at, what, visitor = event["occurred_at"], event["event_type"], event["visitor_id"]
        if what in STAGES:
            session.firsts[what] = min(at, session.firsts.get(what, at))
        session.last = max(at, session.last or at)
        self._visitors[visitor] = max(at, self._visitors.get(visitor, at))
        self._clicks[at.replace(second=0, microsecond=0), what, event["device"]] += 1
        return "changed"

    def verdicts(self, topic: str) -> dict[str, int]:
        """Records of a topic, and how many of them changed something, repeated, were superseded or refused."""
        return dict(self._verdicts[topic])

    def categories(self) -> dict[str, str]:
        """The current category of each product that is on sale."""
        return {i: p.columns[1] for i, p in self._entities["products"].items() if not p.deleted}

    def rows(self, metric: str, grain: Grain, tz: str = "UTC") -> Rows:
        """A metric's rows: (bucket, *dimensions) → measures, money in cents; rows of zeros are left out.

        The bucket is its start in seconds since 1970, 0 for grain `all`. Minutes and hours are those of UTC, a day is
        that of time zone `tz`. Raises UnknownMetric.
        """
        if metric not in METRICS or grain not in grains_of(metric):
            raise UnknownMetric(
                f"expected one of {', '.join(METRICS)}, by one of {', '.join(GRAINS)} (active by all only); "
                f"saw {metric} by {grain}"
            )
        zone = ZoneInfo(tz)
        found: defaultdict[Key, Counter[str]] = defaultdict(Counter)
        for at, dimensions, measures in self._contributions(metric):
            found[(bucket(at, grain, zone), *dimensions)].update(measures)
        return {key: dict(measures) for key, measures in found.items() if any(measures.values())}

    def _contributions(self, metric: str) -> Iterator[Contribution]:
        if metric in OF_ENTITIES:
            topic, contribution = OF_ENTITIES[metric]
            for latest in self._entities[topic].values():
                if not latest.deleted:
                    yield contribution(*latest.columns)
        elif metric == "funnel":
            for session in self._sessions.values():
                for stage, first in session.firsts.items():
                    yield first, (), {name: int(name == stage) for name in STAGES}
        elif metric == "clicks":
            for (minute, what, device), events in self._clicks.items():
                yield minute, (what, device), {"events": events}
        elif self._visitors:
            newest = max(self._visitors.values())
            sessions = sum(session.last > newest - ACTIVE for session in self._sessions.values())
            visitors = sum(last > newest - ACTIVE for last in self._visitors.values())
            yield newest, (), {"sessions": sessions, "visitors": visitors}

    def as_json(self, tz: str = "UTC") -> dict[str, Any]:
        """Verdicts, categories and the rows of every metric and grain, each row as [*key, measures]."""
        return {
            "verdicts": {topic: self.verdicts(topic) for topic in CONTRACTS},
            "categories": self.categories(),
            "time_zone": tz,
            "rows": {
                metric: {
                    grain: [
                        [*key, measures] for key, measures in sorted(self.rows(metric, grain, tz).items())
                    ]
                    for grain in grains_of(metric)
                }
                for metric in METRICS
            },
        }


def bucket(at: datetime, grain: Grain, zone: ZoneInfo) -> int:
    """The start of the bucket that holds a time, in seconds since 1970."""
    if grain == "all":
        return 0
    if grain == "day":
        local = at.astimezone(zone)
        return int(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp())
    seconds = int(at.replace(microsecond=0).timestamp())
    return seconds - seconds % (60 if grain == "minute" else 3600)
