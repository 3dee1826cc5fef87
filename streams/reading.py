"""How Spark reads records of one registered schema: decoded as they were written, then put into the contract's shape.

A schema that Spark or the contract cannot read is unusable; its records are refused, and the query runs on.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

from pyspark.errors import PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro, to_avro

from infra.registry import RegisteredSchema
from schemas.contract import Contract, Field
from schemas.errors import ContractError
from schemas.evolution import Source, plain_schema, projection

PERMISSIVE = {"mode": "PERMISSIVE"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """One registered schema. `writer` is its text as Spark reads it, `sources` where the contract's fields are."""

    schema_id: int
    writer: str = ""
    sources: Mapping[str, Source | None] | None = None
    is_contract: bool = False

    @property
    def usable(self) -> bool:
        return self.sources is not None

    @property
    def column(self) -> str:
        """The column of the record as it was written."""
        return f"original_{self.schema_id}"

    @property
    def required(self) -> str:
        """A field that no record of the schema lacks."""
        fields = json.loads(self.writer)["fields"]
        return next(
            spec["name"] for spec in fields if not isinstance(spec["type"], list) and spec["type"] != "null"
        )

    @property
    def has_maps(self) -> bool:
        return '"map"' in self.writer

    def projected(self, contract: Contract) -> Column:
        """The record in the contract's shape, null where a value does not fit."""
        if self.is_contract:
            return F.col(self.column)
        return F.struct(*(self._value(field).alias(name) for name, field in contract.fields.items()))

    def misfit(self, contract: Contract) -> Column | None:
        """Whether a value does not fit the contract; None if all do."""
        if self.is_contract:
            return None
        misfits = [self._misfit(field) for field in contract.fields.values() if self.sources[field.name]]
        return reduce(or_, misfits, F.lit(False))

    def _written(self, field: Field) -> Column:
        source = self.sources[field.name]
        value = F.col(self.column)[source.name]
        if source.kind == "timestamp-millis":
            return F.try_multiply(value, F.lit(1000))
        return value

    def _value(self, field: Field) -> Column:
        if self.sources[field.name] is None:
            return F.lit(field.default_value).cast(spark_type(field))
        return self._written(field).try_cast(spark_type(field))

    def _misfit(self, field: Field) -> Column:
        written, value = F.col(self.column)[self.sources[field.name].name], self._value(field)
        lost = value.isNull() if not field.nullable else value.isNull() & written.isNotNull()
        return lost | F.coalesce(value != self._written(field), F.lit(False))


def spark_type(field: Field) -> str:
    """The type of a decoded column; times are whole numbers."""
    if field.type == "decimal":
        return f"decimal({field.precision},{field.scale})"
    return {"string": "string", "int": "int", "long": "bigint", "timestamp": "bigint"}[field.type]


def read_schema(spark: SparkSession, contract: Contract, schema: RegisteredSchema) -> Reading:
    """How to read a registered schema; says in the log why it cannot be read."""
    try:
        avro = json.loads(schema.avro)
        sources = projection(contract, avro)
        writer = plain_schema(avro, sources)
        same = json.loads(writer) == json.loads(
            plain_schema(contract.avro, projection(contract, contract.avro))
        )
        # Without their unit, times look alike.
        if same and all(source and source.kind != "timestamp-millis" for source in sources.values()):
            return Reading(schema.schema_id, writer, sources, is_contract=True)
        reading = Reading(schema.schema_id, writer, sources)
        _try(spark, contract, reading)
    except (ContractError, PySparkException, ValueError, KeyError, TypeError) as error:
        _complain(contract.topic, schema.schema_id, str(error).partition("\n")[0])
        return Reading(schema.schema_id)
    return reading


def _try(spark: SparkSession, contract: Contract, reading: Reading) -> None:
    """Raises PySparkException if Spark cannot read, write or project records of this schema."""
    record = from_avro(F.lit(b"").cast("binary"), reading.writer, PERMISSIVE)
    read = spark.range(0).select(record.alias(reading.column))
    again = to_avro(F.col(reading.column), reading.writer)
    _ = read.select(again, reading.projected(contract), reading.misfit(contract)).schema


@lru_cache(1_000)
def _complain(topic: str, schema_id: int, reason: str) -> None:
    log.warning("records of %s with schema id %d will be refused: %s", topic, schema_id, reason)
