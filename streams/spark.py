"""The Spark session that all jobs use: local by default, any master by setting. Reads the pinned jars."""

from pyspark.sql import SparkSession

from infra.settings import Settings
from infra.setup import checked_jars

MAX_DATUM_BYTES = 1_048_576


def session(settings: Settings, name: str, slots: int) -> SparkSession:
    """A session with `slots` task slots where the master is local.

    The Avro limits matter: a tiny record that claims a string of 1.5 GB kills a JVM without them, PERMISSIVE or not.
    """
    jars = [str(path) for path in checked_jars(settings.cache_dir).spark]
    limits = " ".join(
        f"-Dorg.apache.avro.limits.{kind}.maxLength={MAX_DATUM_BYTES}"
        for kind in ("string", "bytes", "collectionItems")
    )
    master = settings.spark_master or f"local[{slots}]"
    return (
        SparkSession.builder.master(master)
        .appName(f"dataflow-{settings.dataflow_env}-{name}")
        .config("spark.jars", ",".join(jars))
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", f"{limits} -Xss4m -XX:+UseSerialGC")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.sql.streaming.metricsEnabled", "false")
        .getOrCreate()
    )
