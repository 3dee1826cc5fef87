"""What is measured, one module a part. `PARTS` is their order."""

from tests.bench.parts import (
    catchup,
    evolve,
    idle,
    import_,
    ingest,
    lake,
    lake_growth,
    lake_latency,
    latency,
    memory,
    reads,
    recover,
    replay,
    replay_latency,
    sse,
    start,
    sustained,
)
from tests.bench.parts.part import Part

PARTS: dict[str, Part] = {
    module.PART.name: module.PART
    for module in (
        latency,
        sse,
        reads,
        ingest,
        sustained,
        catchup,
        lake,
        lake_growth,
        lake_latency,
        replay,
        replay_latency,
        import_,
        memory,
        start,
        recover,
        evolve,
        idle,
    )
}
