"""Which dead letters somebody wants, from texts: the one reading of filters behind the command line and REST. Pure.

How a time is written is for the caller to say: a terminal knows `2h`, a query string a day of the shop.
"""

import re
from collections.abc import Mapping

from schemas.contract import CONTRACTS
from schemas.errors import DataflowError, Terminal
from serving.dead_letters.letter import IMPORT, REASONS
from serving.dead_letters.scan import Wanted

FILTERS = ("topic", "reason", "since", "until", "partition", "offsets")
PARTITION_AT_MOST = 999_999


class BadFilter(DataflowError, Terminal):
    """A filter that cannot be meant; `name` says which, `reason` what was expected and seen."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


def parse_wanted(given: Mapping[str, str], since: int | None, until: int | None) -> Wanted:
    """`given` are the texts of topic, reason, partition and offsets, by name; the times are µs. Raises BadFilter."""
    parsers = (("topic", _topic), ("reason", _reason), ("partition", _partition), ("offsets", _offsets))
    topic, reason, partition, offsets = (
        parse(given[name]) if name in given else None for name, parse in parsers
    )
    if offsets is not None and (topic is None or partition is None):
        raise BadFilter("offsets", "expected topic and partition with it: offsets count within a partition")
    if since is not None and until is not None and since >= until:
        raise BadFilter("until", "expected a time behind since")
    return Wanted(topic, reason, since, until, partition, offsets)


def known_reasons(topic: str | None = None) -> list[str]:
    """What the judge and the contracts of now refuse for. Letters may have others: of mappings, of rules that were."""
    contracts = [CONTRACTS[topic]] if topic in CONTRACTS else CONTRACTS.values()
    rules = {rule.name for contract in contracts for rule in contract.rules if rule.severity == "reject"}
    return sorted(REASONS.keys() | rules)


def _topic(text: str) -> str:
    is_import = text == IMPORT[:-1] or (text.startswith(IMPORT) and text != IMPORT)
    if text in CONTRACTS or is_import:
        return text
    raise BadFilter(
        "topic", f"expected one of {', '.join(CONTRACTS)}, import or import:MAPPING; saw {text[:60]!r}"
    )


def _reason(text: str) -> str:
    if re.fullmatch(r"\S{1,200}", text):
        return text
    raise BadFilter("reason", f"expected the name of a rule, such as {known_reasons()[0]}; saw {text[:60]!r}")


def _partition(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and int(text) <= PARTITION_AT_MOST:
        return int(text)
    raise BadFilter(
        "partition", f"expected a whole number from 0 to {PARTITION_AT_MOST:,}; saw {text[:60]!r}"
    )


def _offsets(text: str) -> tuple[int, int]:
    """`17`, or `17-99`, both included."""
    found = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text, re.ASCII)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise BadFilter(
            "offsets", f"expected an offset, or the first and the last as in 17-99; saw {text[:60]!r}"
        )
    return int(found[1]), int(found[2] or found[1])
