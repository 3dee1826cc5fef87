"""The Spark session that all jobs use: local by default, any master by setting. Reads the pinned jars.

The JVM is a child of this process and ends with it, however it ends: it exits when its standard input does.
"""

import logging
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from infra.settings import Settings
from infra.setup import checked_jars
from streams.aot import OPTIONS, use

MAX_DATUM_BYTES = 1_048_576
LOGGING = Path(__file__).with_name("log4j2.xml")
END_SECONDS = 10.0  # for the JVM to end by itself


def session(
    settings: Settings,
    name: str,
    slots: int,
    config: Mapping[str, str] | None = None,
    aot: str | None = None,
) -> SparkSession:
    """A session with `slots` task slots where the master is local; `config` is laid over what is set here.

    `aot` are Java options about a prepared start, see `streams.aot`.
    The Avro limits matter: a tiny record that claims a string of 1.5 GB kills a JVM without them, PERMISSIVE or not.
    """
    jars = [str(path) for path in checked_jars(settings.cache_dir).spark]
    limits = " ".join(
        f"-Dorg.apache.avro.limits.{kind}.maxLength={MAX_DATUM_BYTES}"
        for kind in ("string", "bytes", "collectionItems")
    )
    java = f"{limits} -Dlog4j2.configurationFile={LOGGING.as_uri()} {OPTIONS}"
    java += f" {use(settings, OPTIONS) if aot is None else aot}"
    settled = {
        "spark.jars": ",".join(jars),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": java,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",
        "spark.sql.streaming.metricsEnabled": "false",
        # It tells the JVM the Python line of every Column: 8 of 10 calls that planning the live query makes.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        **(config or {}),
    }
    builder = SparkSession.builder.master(settings.spark_master or f"local[{slots}]")
    return builder.appName(f"dataflow-{settings.dataflow_env}-{name}").config(map=settled).getOrCreate()


def leave_signals_to_python(spark: SparkSession) -> None:
    """Let the JVM ignore SIGTERM, which some send to a whole process group.

    Its own answer would be to stop Spark under the running queries. Python stops both in order.
    """
    jvm = spark.sparkContext._jvm
    jvm.sun.misc.Signal.handle(jvm.sun.misc.Signal("TERM"), jvm.sun.misc.SignalHandler.SIG_IGN)


def end(spark: SparkSession, seconds: float = END_SECONDS) -> None:
    """Stop Spark and wait until its JVM has ended. Harmless where the JVM is gone already."""
    gateway = spark.sparkContext._gateway
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it logs the lost connection
    with suppress(Py4JError, OSError):
        # Tasks that were just cancelled report to a scheduler that is gone; what counts has been logged before.
        spark.sparkContext.setLogLevel("OFF")
        spark.stop()
    with suppress(Py4JError, OSError):
        gateway.shutdown()
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(seconds)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
