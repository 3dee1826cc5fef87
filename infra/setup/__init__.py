"""What DataFlow needs on a machine beyond its Python packages: a Java runtime, the jars and the registry's program."""

from infra.setup.jars import Jars, checked_jars, ensure_jars
from infra.setup.java import Java, find_java, spark_java_home

__all__ = ["Jars", "Java", "checked_jars", "ensure_jars", "find_java", "spark_java_home"]
