"""Check events against their contract as `schemas.validate.violations` does, at a quarter of its cost. Pure.

An import repeats values (a status, a country, a price, a minute), so values that passed are remembered per field; only
text and whole numbers not seen before are judged on the spot, by the contract's own rules. Whatever is not plainly good
goes to `violations`, which alone says what is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from schemas.contract import CONTRACTS, Field
from schemas.expression import Evaluator, compile_expression, parsed
from schemas.validate import INT_RANGES, Violation, violations
from sources.importer.expression import CACHE_SIZE


@dataclass
class _FieldCheck:
    """What is known of one field: values that passed, and the rules that look at it alone."""

    name: str
    type: str
    low: int
    high: int
    rules: tuple[Evaluator, ...]
    good: set = field(default_factory=set)

    def passes(self, value: Any, event: Mapping[str, Any]) -> bool:
        """Whether a value not seen before is plainly good."""
        if type(value) is str:
            plain = self.type == "string" and value.isascii()
        else:
            plain = type(value) is int and self.low <= value <= self.high
        return plain and all(rule(event) is not False for rule in self.rules)


class Checker:
    """`violations` with a memory. Values have their field's Python type or are None, as outputs guarantee."""

    def __init__(self, kafka_time: int) -> None:
        self.kafka_time = kafka_time
        self._topics: dict[str, tuple[tuple[_FieldCheck, ...], tuple[Evaluator, ...]]] = {}

    def violations(self, topic: str, event: Mapping[str, Any]) -> list[Violation]:
        """All reasons to refuse the event; see `schemas.validate.violations`."""
        fields, rules = self._topics.get(topic) or self._learn(topic)
        for check in fields:
            value = event.get(check.name)
            if value not in check.good and not check.passes(value, event):
                break
        else:
            if all(rule(event) is not False for rule in rules):
                return []
        found = violations(topic, event, self.kafka_time)
        if not found:
            for check in fields:
                if len(check.good) >= CACHE_SIZE:
                    check.good.clear()
                check.good.add(event.get(check.name))
        return found

    def _learn(self, topic: str) -> tuple[tuple[_FieldCheck, ...], tuple[Evaluator, ...]]:
        """Sort the contract's rejecting rules into those of one field and those between fields."""
        contract = CONTRACTS[topic]
        scales = dict.fromkeys((*contract.fields, "kafka_time"), 0)
        single: dict[str, list[Evaluator]] = {name: [] for name in contract.fields}
        between: list[Evaluator] = []
        for rule in contract.rules:
            if rule.severity != "reject":
                continue
            columns = {column.name for column in parsed(rule.expression).find_all(exp.Column)}
            evaluator = compile_expression(rule.expression, scales)[0]
            own = columns - {"kafka_time"}
            if len(own) == 1:
                single[own.pop()].append(evaluator)
            elif any(contract.fields[name].type == "timestamp" for name in own):
                between.append(
                    lambda event: False
                )  # needs times as microseconds: leave every event to `violations`
            else:
                between.append(evaluator)
        checks = tuple(self._field(spec, single[name]) for name, spec in contract.fields.items())
        self._topics[topic] = checks, tuple(between)
        return self._topics[topic]

    @staticmethod
    def _field(spec: Field, rules: list[Evaluator]) -> _FieldCheck:
        low, high = INT_RANGES.get(spec.type, (0, -1))
        return _FieldCheck(spec.name, spec.type, low, high, tuple(rules))
