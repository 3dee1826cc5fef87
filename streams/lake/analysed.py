"""What is made of a range of a topic, analysed by Spark once and laid over other ranges of it.

Each step that makes a frame out of another is analysed as it is taken: for a judge, longer than it takes to judge some
thousand records. Spark has no public way to put another relation under a frame, so this goes through the plan, as it
is in Spark 4.2.
"""

from collections.abc import Callable

from py4j.java_gateway import JavaObject
from pyspark.sql import DataFrame
from pyspark.sql.classic.dataframe import DataFrame as ClassicFrame

LEAF, TABLE = "DataSourceV2Relation", "KafkaTable"


class Analysed:
    """`make` of records that `streams.records.from_kafka` gives, of one topic: they differ in their range alone.

    What is read from bronze is made anew each time: there the ranges are steps of the plan.
    """

    def __init__(self, make: Callable[[DataFrame], DataFrame]) -> None:
        self._make = make
        # The steps of the first one's plan, the last one first, and its range.
        self._first: tuple[list[JavaObject], JavaObject] | None = None

    def over(self, records: DataFrame) -> DataFrame:
        """What `make` gives for `records`."""
        _, other = _taken_apart(records)
        if other is None:
            return self._make(records)
        if self._first is None:
            made = self._make(records)
            steps, own = _taken_apart(made)
            if steps and own is not None:
                self._first = steps, own
            return made
        (steps, own), spark = self._first, records.sparkSession
        where = other.catalog(), other.identifier(), other.options(), other.timeTravelSpec()
        plan = own.copy(other.table(), own.output(), *where)
        for step in reversed(steps):
            plan = step.withNewChildren(spark._jvm.PythonUtils.toSeq([plan]))
        # Spark notes there which frames a plan is of: a set that all plans made of a step would share and fill.
        plan.unsetTagValue(spark._jvm.org.apache.spark.sql.classic.Dataset.DATASET_ID_TAG())
        plan.setAnalyzed()
        frame = spark._jvm.org.apache.spark.sql.classic.Dataset.ofRows(spark._jsparkSession, plan)
        return ClassicFrame(frame, spark)


def _taken_apart(frame: DataFrame) -> tuple[list[JavaObject], JavaObject | None]:
    """The steps of its analysed plan, from the last one back, and the range of a topic; None if there is none."""
    steps, plan = [], frame._jdf.queryExecution().analyzed()
    while (children := plan.children()).size() == 1:
        steps.append(plan)
        plan = children.head()
    is_range = _name(plan) == LEAF and _name(plan.table()) == TABLE
    return steps, plan if is_range else None


def _name(of: JavaObject) -> str:
    return of.getClass().getSimpleName()
