"""Seeded chance: ids, skewed choices, waiting times. The only source of randomness in the generator."""

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")


class Chance(random.Random):
    """`random.Random`, seeded with text, and what the shop needs on top."""

    def uuid(self) -> str:
        """A version 4 UUID, as text in lower case."""
        # Six times as fast as uuid.UUID(int=…), and there are several to an event.
        h = f"{self.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """Any of `items`, each as likely."""
        return items[int(self.random() * len(items))]

    def favourite(self, items: Sequence[T]) -> T:
        """Any of `items`, the earlier ones much more often, as with best-sellers."""
        return items[int(self.random() ** 2.5 * len(items))]

    def between(self, low: timedelta, high: timedelta) -> timedelta:
        """A time span, in whole milliseconds."""
        low_ms, high_ms = low // MILLISECOND, high // MILLISECOND
        return timedelta(milliseconds=low_ms + int(self.random() * (high_ms - low_ms)))


MILLISECOND = timedelta(milliseconds=1)


class Weighted(Generic[T]):
    """A choice between alternatives of different weight."""

    def __init__(self, weights: dict[T, float]) -> None:
        self.items = list(weights)
        self._cumulative = list(accumulate(weights.values()))

    def pick(self, chance: random.Random) -> T:
        """One of the alternatives."""
        return chance.choices(self.items, cum_weights=self._cumulative)[0]
