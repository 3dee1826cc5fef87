"""Where the lake comes first: the live job waits, before it starts Spark, until it is told where verdicts begin.

Reads the generations and the control topic; writes the job's pointer, which says where it begins, and the status file.
"""

import time

from infra.generation import current_generation, source_bounds
from infra.settings import Settings
from streams.control import last_needed
from streams.live.attempt import Attempt, committed_at, load_attempt, starting_offsets, store_attempt
from streams.live.report import Report
from streams.stop import StopRequest
from streams.world import World

LOOK_SECONDS = 2.0


def wait_for_lake(settings: Settings, stop: StopRequest) -> bool:
    """Returns at once where there is nothing to wait for; False if a stop was asked for meanwhile.

    Raises what `World.check` raises: Outdated if a new process has to take over, GenerationError if none can.
    """
    generation = current_generation(settings)
    directory = settings.state_dir / "checkpoints" / generation.name
    attempt = load_attempt(directory)
    has_begun = attempt.starting is not None or committed_at(directory, attempt) is not None
    if not generation.lake_first or has_begun:
        return True
    report = Report(settings)
    report.know(generation=generation.name, waiting_for="lake")
    world = World(settings, generation)
    try:
        while not stop.asked:
            if (needed := last_needed(settings, generation.name)) is not None:
                first, end = source_bounds(settings, generation)
                # Whoever is killed from now on begins there too.
                starting = starting_offsets(generation, needed[1], first, end)
                store_attempt(directory, Attempt(attempt.number + 1, starting))
                return True
            report.write("running")
            world.check()
            time.sleep(LOOK_SECONDS)
        return False
    finally:
        world.close()
