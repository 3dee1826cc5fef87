"""What a run's effects are in Redis: one list of operations for the commit function. Pure."""

from collections import defaultdict
from collections.abc import Mapping

import orjson

from serving.fold.fold import Effects
from serving.fold.plan import Plan
from serving.store.keys import Keys
from serving.store.store import Operation


def operations(
    effects: Effects, plan: Plan, keys: Keys, newest: Mapping[str, int], kafka_time: int
) -> list[Operation]:
    """All writes of `effects`, sums first.

    `newest` are the newest event times with this run, by topic ("": of all), `kafka_time` the broker's newest time.
    """
    sums: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (metric, minute, field), amount in effects.cells.items():
        if amount:
            for grain, start in plan.starts(minute):
                sums[keys.bucket(metric, grain, start)][field] += amount
    sums[keys.counts] |= effects.counts
    found: list[Operation] = []
    for key, amounts in sums.items():
        pairs = [part for field, amount in amounts.items() if amount for part in (field, amount)]
        if pairs:
            found.append(("A", key, pairs))
    states: defaultdict[str, list[bytes]] = defaultdict(list)
    for (key, field), state in effects.places.items():
        states[key] += (field, b"" if state is True else state.pack())
    found += [("S", key, pairs) for key, pairs in states.items()]
    for key, scores in effects.active.items():
        found.append(("Z", key, [part for member, at in scores.items() for part in (at, member)]))
    for name, entities in effects.dimensions.items():
        kept = [p for i, a in entities.items() if a is not None for p in (i, orjson.dumps(a))]
        gone = [i for i, a in entities.items() if a is None]
        found += [(letter, keys.dimension(name), part) for letter, part in (("S", kept), ("D", gone)) if part]
    for topic in effects.newest:
        for active in plan.topics[topic].actives:
            # An event of a clock that is ahead cuts off nobody who is active now.
            cutoff = min(newest[topic], kafka_time) - active.within_micros
            found += [("T", keys.active(active.name, m.name), [cutoff]) for m in active.measures]
    return found
