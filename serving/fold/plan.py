"""The declared metrics, compiled for the fold: per topic, which columns to remember and what a row gives.

Pure. The plan's digest names the definition that a generation was folded by, so that no generation mixes two.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from schemas.contract import CONTRACTS, Contract
from schemas.expression import Evaluator, compile_expression
from schemas.metric import Active, AnyMetric, Dimension, Funnel, Metric, Verdicts
from serving.store.keys import encode_dimensions

MINUTE_MICROS = 60_000_000
FORM = 3  # of what stands in Redis; another one makes what is there be counted anew
Row = Mapping[str, Any]
# metric, start of the minute (s), field of the bucket
Cell = tuple[str, int, str]


def minute_of(micros: int) -> int:
    """Start of the minute that holds a time, in seconds since 1970."""
    return micros // MINUTE_MICROS * 60


class RowMetric:
    """What one row gives to a `Metric`: cells and signed amounts."""

    def __init__(self, metric: Metric) -> None:
        self.name, self.at, self.by = metric.name, metric.at, metric.by
        scales = metric.contract.minor_unit_scales
        self.measures: list[tuple[str, Evaluator | None, Evaluator | None]] = [
            (
                "|" + measure.name,
                None if measure.expression == "1" else compile_expression(measure.expression, scales)[0],
                compile_expression(measure.where, scales)[0] if measure.where else None,
            )
            for measure in metric.measures
        ]

    def cells(self, row: Row) -> list[tuple[Cell, int]]:
        """Nothing for a row without a time; a measure that is null or zero adds nothing."""
        at = row.get(self.at)
        if at is None:
            return []
        minute = minute_of(at)
        dimensions = encode_dimensions(tuple(row.get(column) for column in self.by))
        found = []
        for name, expression, where in self.measures:
            if where is None or where(row) is True:
                amount = 1 if expression is None else expression(row)
                if amount:
                    found.append(((self.name, minute, dimensions + name), amount))
        return found


@dataclass(frozen=True)
class TopicPlan:
    """What the fold does with the events of one topic."""

    contract: Contract
    columns: tuple[str, ...]  # remembered of an entity's latest version
    rows: tuple[RowMetric, ...]
    funnels: tuple[Funnel, ...]
    actives: tuple[Active, ...]
    dimensions: tuple[Dimension, ...]
    pack: Callable[[str], bytes]  # an entity id as it stands in Redis


class Plan:
    """All topics' plans, and how minutes add up to hours and days in the shop's time zone."""

    def __init__(
        self, metrics: Mapping[str, AnyMetric], dimensions: Mapping[str, Dimension], time_zone: str
    ) -> None:
        self.metrics, self.dimensions, self.time_zone = metrics, dimensions, time_zone
        self.verdicts = tuple(m.name for m in metrics.values() if isinstance(m, Verdicts))
        self.topics = {
            topic: _topic_plan(contract, metrics, dimensions) for topic, contract in CONTRACTS.items()
        }
        zone = ZoneInfo(time_zone)
        self.starts = lru_cache(100_000)(lambda minute: starts(minute, zone))

    def digest(self, max_event_bytes: int) -> str:
        """Changes when the same records would give other state: by metrics, time zone, rules, columns or limits."""
        declared = [*map(_spec, self.metrics.values()), *map(_spec, self.dimensions.values())]
        contracts = [_contract_spec(topic) for topic in self.topics.values()]
        text = json.dumps([FORM, self.time_zone, max_event_bytes, declared, contracts])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def starts(minute: int, zone: ZoneInfo) -> tuple[tuple[str, int], ...]:
    """The bucket of each grain that a minute belongs to: hours are those of UTC, a day is the time zone's."""
    return ("minute", minute), ("hour", minute - minute % 3600), ("day", day_of(minute, zone)), ("all", 0)


def day_of(seconds: int, zone: ZoneInfo) -> int:
    """Start of the local day that holds a time, in seconds since 1970."""
    local = datetime.fromtimestamp(seconds, zone)
    return int(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp())


def _topic_plan(
    contract: Contract, metrics: Mapping[str, AnyMetric], dimensions: Mapping[str, Dimension]
) -> TopicPlan:
    mine = [m for m in metrics.values() if not isinstance(m, Verdicts) and m.of == contract.topic]
    rows = [m for m in mine if isinstance(m, Metric)]
    funnels = [m for m in mine if isinstance(m, Funnel)]
    actives = [m for m in mine if isinstance(m, Active)]
    attributes = [d for d in dimensions.values() if d.of == contract.topic]
    used = {column for metric in rows for column in metric.columns}
    used |= {column for dimension in attributes for column in dimension.attributes}
    is_uuid = contract.fields[contract.entity_id].attributes.get("format") == "uuid"
    return TopicPlan(
        contract,
        tuple(name for name in contract.fields if name in used),
        tuple(map(RowMetric, rows)),
        tuple(funnels),
        tuple(actives),
        tuple(attributes),
        _pack_uuid if is_uuid else str.encode,
    )


def _pack_uuid(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


def _contract_spec(plan: TopicPlan) -> list[Any]:
    """What of a contract decides: the remembered columns in their order, and what is refused."""
    fields = plan.contract.fields
    columns = [[name, fields[name].type, fields[name].scale] for name in plan.columns]
    return [columns, sorted([r.name, r.expression] for r in plan.contract.rules if r.severity == "reject")]


def _spec(declared: AnyMetric | Dimension) -> list[Any]:
    """What of a declaration decides about the state; documentation and what is derived on read do not."""
    measures: Sequence[Any] = getattr(declared, "measures", ())
    return [
        type(declared).__name__,
        *(
            _plain(getattr(declared, name, None))
            for name in (
                "name",
                "of",
                "at",
                "by",
                "key",
                "stage",
                "stages",
                "keys",
                "within_micros",
                "attributes",
            )
        ),
        [[m.name, m.expression, m.where] for m in measures],
    ]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
