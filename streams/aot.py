"""`python -m streams.aot`: prepares the start of Spark's JVM, once. What is prepared takes about half of it away.

A JVM does in small what the jobs do, and leaves behind what it has loaded, linked and learned to compile: an
ahead-of-time cache (JEP 514 and 515, Java 25). Another one takes it if its Java, jars and options are the same, else it
starts without. Writes `{cache_dir}/aot/<digest>.aot`, some 200 MB; of those only the ones used last are kept.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pyspark

from infra.settings import Settings
from infra.setup import find_java, spark_java_home
from schemas.errors import DataflowError

# A JVM without memory half works; one that has ended is started again.
OPTIONS = "-Xss4m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError"
TRAIN = "train"
FOREIGN = ("SPARK_", "PYSPARK_", "HADOOP_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS")
OLDEST = 25  # Java: the first one that learns what to compile, too
KEPT = 4
QUIET = "-Xlog:disable -Xlog:all=error:stderr"  # one that does not fit is no reason to say anything
STREAM_SECONDS = 8.0
END_SECONDS = 300.0  # for the JVM to write the cache
# What the streams of the training are made of.
ROWS, SCHEMA_ID = 400, 7


def place(settings: Settings, options: str) -> Path | None:
    """Where the cache for a JVM with these options is or would be; None where Java is too old.

    The JVM compares the files on its class path by name, size and time, so another installation has another place.
    """
    java = find_java(settings.java_home)
    major = re.match(r"\d+", java.version)
    if major is None or int(major[0]) < OLDEST:
        return None
    release = (java.home / "release").read_text("utf-8", "replace")
    jars = Path(pyspark.__file__).parent / "jars"
    entries = [(file.name, file.stat().st_size, int(file.stat().st_mtime)) for file in sorted(jars.iterdir())]
    what = "\n".join((release, str(java.home), str(jars), str(entries), options))
    return settings.cache_dir / "aot" / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.aot"


def use(settings: Settings, options: str) -> str:
    """More options, by which a JVM with `options` takes what is prepared; none if nothing is."""
    try:
        found = place(settings, options)
        if found is None or not found.is_file():
            return ""
    except (OSError, DataflowError):
        return ""
    with suppress(OSError):  # it may be somebody else's
        os.utime(found)
    return f'"-XX:AOTCache={found}" {QUIET}'


def prepare(settings: Settings) -> None:
    """Make the cache for this installation. Raises DataflowError, OSError."""
    from streams.spark import end, session  # which takes from here what is prepared

    found = place(settings, OPTIONS)
    draft = found.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    os.environ["JAVA_HOME"] = str(spark_java_home(find_java(settings.java_home), settings.cache_dir))
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    here = settings.replace(spark_master=None)
    with tempfile.TemporaryDirectory() as scratch:
        spark = session(here, "aot", 4, {}, aot=f'"-XX:AOTCacheOutput={draft}" {QUIET}')
        try:
            train(spark, Path(scratch))
        finally:
            end(spark, END_SECONDS)
    draft.replace(found)
    for old in sorted(found.parent.glob("*.aot"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)


def train(spark: "pyspark.sql.SparkSession", scratch: Path) -> None:
    """Judge as the lake does, in batches, and as the live job does, in a stream."""
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    from infra.registry import RegisteredSchema
    from schemas.contract import CONTRACTS
    from streams.judge import canonical_event, header, prepared, whole_event

    def records(numbers: DataFrame) -> DataFrame:
        body = F.concat(F.lit(header(SCHEMA_ID)), F.col("value").cast("string").cast("binary"))
        return numbers.select(
            F.lit(0).alias("partition"),
            F.col("value").alias("offset"),
            F.current_timestamp().alias("timestamp"),
            F.col("value").cast("string").cast("binary").alias("key"),
            F.when(F.col("value") % 2 == 0, body).otherwise(F.lit(b"no Avro")).alias("value"),
            F.array().cast("array<struct<key:string,value:binary>>").alias("headers"),
        )

    for _ in range(2):
        for contract in CONTRACTS.values():
            known = [RegisteredSchema(SCHEMA_ID, 1, json.dumps(contract.avro))]
            judge = prepared(spark, contract, known, 262_144, whole_event, ("headers",))
            judge(records(spark.range(0, ROWS, 1, 4).withColumnRenamed("id", "value"))).toArrow()
    parts = []
    for contract in CONTRACTS.values():
        known = [RegisteredSchema(SCHEMA_ID, 1, json.dumps(contract.avro))]
        numbers = spark.readStream.format("rate").option("rowsPerSecond", 50).load()
        judged = prepared(spark, contract, known, 262_144, canonical_event, ("headers",))(records(numbers))
        parts.append(judged.select(F.to_json(F.struct("offset", "reasons", "event")).alias("value")))
    union = parts[0]
    for part in parts[1:]:
        union = union.unionByName(part)
    writer = union.writeStream.format("noop").option("checkpointLocation", str(scratch / "checkpoint"))
    query = writer.trigger(processingTime="1 second").start()
    try:
        deadline = time.monotonic() + STREAM_SECONDS
        while time.monotonic() < deadline and query.isActive:
            time.sleep(0.2)
    finally:
        query.stop()


def main() -> None:
    """Entry point. Without it everything works as well, and starts later: so it fails only with a word."""
    settings = Settings.load()
    if TRAIN in sys.argv:
        prepare(settings)
        return
    try:
        found = place(settings, OPTIONS)
        if found is not None and not found.exists():
            found.parent.mkdir(parents=True, exist_ok=True)
            with (found.parent / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not found.exists():
                    make(found)
    except (OSError, DataflowError, subprocess.TimeoutExpired) as error:
        print(f"setup: Spark's start could not be prepared, so it takes longer: {error}", file=sys.stderr)


def make(found: Path) -> None:
    """In a process of its own, which says a lot, and by nobody's Spark but the one that is installed here."""
    print("setup: preparing Spark's start (about a minute, once) …", flush=True)
    began, told = time.monotonic(), found.with_suffix(".log")
    env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    with told.open("wb") as log:
        line = [sys.executable, "-m", "streams.aot", TRAIN]
        status = subprocess.run(line, stdout=log, stderr=log, env=env, check=False, timeout=END_SECONDS * 2)
    if status.returncode or not found.exists():
        print(f"setup: Spark's start could not be prepared, so it takes longer: see {told}", file=sys.stderr)
        return
    told.unlink()
    print(
        f"setup: prepared, {found.stat().st_size / 1e6:.0f} MB ({time.monotonic() - began:.0f} s)", flush=True
    )


if __name__ == "__main__":
    main()
