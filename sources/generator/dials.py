"""How untidy the generated events are. Pure values."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

from schemas.errors import SettingsError


@dataclass(frozen=True)
class Dials:
    """Probabilities, 0 to 1, each per event of the shop's story. The defaults are those of the demo.

    duplicates     the record comes again, at once or up to some thousand records later
    late           what is new (an order, a customer, a review, a click) happened an hour to five days ago
    out_of_order   the record is held back until after the next one of its key
    malformed      a damaged copy comes first (see `malformed.py`)
    rule_breaking  a copy that breaks a rule of the contract comes first (see `rule_breaking.py`)
    conflicts      the entity's version comes again with other content
    """

    duplicates: float = 0.01
    late: float = 0.01
    out_of_order: float = 0.01
    malformed: float = 0.002
    rule_breaking: float = 0.003
    conflicts: float = 0.002

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise SettingsError(f"dial {name}: expected a number from 0 to 1, saw {value}")

    @classmethod
    def none(cls) -> Self:
        """A tidy shop: every record is valid, on time and comes once."""
        return cls(0, 0, 0, 0, 0, 0)

    @classmethod
    def all_up(cls) -> Self:
        """As untidy as it can be while the shop's story still goes on."""
        return cls(
            duplicates=0.2, late=0.1, out_of_order=0.2, malformed=0.1, rule_breaking=0.1, conflicts=0.1
        )

    def turned(self, settings: Iterable[str]) -> Self:
        """These dials with some set anew, each written as `duplicates=0.1`. Raises SettingsError."""
        known = [field.name for field in fields(self)]
        changes = {}
        for text in settings:
            name, _, number = text.partition("=")
            try:
                changes[name] = float(number)
            except ValueError:
                raise SettingsError(f"expected a dial such as duplicates=0.1, saw {text!r}") from None
            if name not in known:
                raise SettingsError(f"there is no dial {name!r}; the dials are {', '.join(known)}")
        return replace(self, **changes)


MIXES = {"demo": Dials(), "none": Dials.none(), "all-up": Dials.all_up()}
