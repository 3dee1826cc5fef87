"""How the JVMs of the services are started: a small heap, the plain collector, the quick compiler only."""

from pathlib import Path

from infra.setup.java import Java


def java_command(java: Java, heap_mb: int, tmp_dir: Path, *rest: str) -> tuple[str, ...]:
    """A command line; `rest` is properties, class path, main class and its arguments."""
    return (
        str(java.program),
        f"-Xmx{heap_mb}m",
        # Two cores are shared by everything: parallel collectors and the second compiler cost more than they bring.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={tmp_dir}",
        *rest,
    )
