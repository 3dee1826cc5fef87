"""How the JVMs of the services are started: a small heap, the plain collector, and for most the quick compiler only."""

from pathlib import Path

from infra.setup.java import Java


def java_command(java: Java, heap_mb: int, tmp_dir: Path, *rest: str, busy: bool = False) -> tuple[str, ...]:
    """A command line; `rest` is properties, class path, main class and its arguments.

    `busy` is for a process that works without pause: only there the second compiler brings more than it costs.
    """
    return (
        str(java.program),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",  # two cores are shared by everything
        *(() if busy else ("-XX:TieredStopAtLevel=1",)),
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={tmp_dir}",
        *rest,
    )
