"""One Spark session for all tests of the jobs."""

import os
import sys

import pytest

from infra.settings import Settings
from infra.setup import find_java, spark_java_home
from streams.spark import session


@pytest.fixture(scope="session")
def spark(tmp_path_factory):

    settings = Settings.load({}, dataflow_home=tmp_path_factory.mktemp("spark"))
    patch = pytest.MonkeyPatch()
    patch.setenv("JAVA_HOME", str(spark_java_home(find_java(settings.java_home), settings.cache_dir)))
    patch.setenv("PYSPARK_PYTHON", sys.executable)
    patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    patch.setenv("SPARK_LOCAL_DIRS", os.fspath(tmp_path_factory.mktemp("scratch")))
    running = session(settings, "tests", slots=2)
    running.sparkContext.setLogLevel("ERROR")
    yield running
    running.stop()
    patch.undo()
