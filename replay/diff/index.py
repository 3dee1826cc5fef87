"""What an extract is: a directory of Parquet files, and `index.json`, which is written last and says what each holds.

It is what two versions of DataFlow's code exchange: a reader takes the FORM that it knows and no other. Column types
are DuckDB's; times are UTC without a zone, money is DECIMAL.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from infra.kafka import Offsets
from replay.diff.errors import NotExtracted

FORM = 1
NAME = "index.json"

Kind = Literal["table", "metric"]


@dataclass(frozen=True)
class Column:
    """One column. `defined` is what it is made of, in the words of its declaration.

    `summed`: its sum means something. `derived`: it follows from the others of its row.
    """

    name: str
    type: str
    doc: str = ""
    unit: str = ""
    defined: str = ""
    personal: bool = False
    summed: bool = False
    derived: bool = False


@dataclass(frozen=True)
class Relation:
    """A table, or a metric by day or in all (`grain`), in `file`. `day` is the column with the day of a row:
    of the declared ones, or beside them in the file.
    """

    kind: Kind
    name: str
    doc: str
    file: str
    rows: int
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    grain: str = ""
    day: str | None = None

    @property
    def title(self) -> str:
        return {"": self.name, "day": f"{self.name} by day", "all": f"{self.name} in all"}[self.grain]

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.grain

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        columns = tuple(Column(**column) for column in body["columns"])
        return cls(**{**body, "key": tuple(body["key"]), "columns": columns})


@dataclass(frozen=True)
class Index:
    """An extract of `generation` at a `manifest`. `code` is the digest of the declarations that made its last batch."""

    generation: str
    manifest: int
    until: Offsets
    code: str
    time_zone: str
    currency: str
    relations: tuple[Relation, ...]

    def write(self, out: Path) -> None:
        """As the last act: without it there is no extract."""
        until = {f"{topic}/{p}": offset for (topic, p), offset in sorted(self.until.items())}
        draft = out / f"{NAME}.draft"
        draft.write_text(json.dumps({"form": FORM, **asdict(self), "until": until}, indent=1), "utf-8")
        draft.replace(out / NAME)

    @classmethod
    def read(cls, out: Path) -> Self:
        """Raises NotExtracted if there is none, or one of another form."""
        try:
            body = json.loads((out / NAME).read_text("utf-8"))
        except FileNotFoundError:
            raise NotExtracted(f"expected an extract in {out} and found none that is finished") from None
        if (form := body.pop("form", None)) != FORM:
            raise NotExtracted(
                f"expected an extract of form {FORM}, saw {form}: the generation's code is of another version of "
                "DataFlow. Replay it with the code of now, then compare"
            )
        until = {}
        for place, offset in body["until"].items():
            topic, _, partition = place.rpartition("/")
            until[topic, int(partition)] = offset
        relations = tuple(Relation.from_json(relation) for relation in body["relations"])
        return cls(**{**body, "until": until, "relations": relations})
