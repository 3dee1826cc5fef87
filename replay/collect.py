"""Removes what generations have made that nobody needs: topics, Redis keys, tables, checkpoints, code.

What is removed is recorded as gone first, so that nothing starts to fill it again; then each part goes, and whoever is
killed half-way leaves the rest to the next run, which finds the same list.
"""

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException

from infra.failpoints import Failpoints
from infra.generations import Generation, Generations, State, change_generations, read_generations
from infra.kafka import TIMEOUT, admin
from infra.runtime.run_state import BOUND, read_run
from infra.runtime.spec import State as ProcessState
from infra.runtime.spec import suffix
from infra.settings import Settings
from replay.differences import forget_differences
from replay.errors import ReplayError
from schemas.errors import Unavailable
from serving.store.removal import remove_generation
from streams.lake.manifest import newest_manifest
from streams.lake.place import DRAFT, lake_root

ENDING_SECONDS = 180.0  # for a generation's processes
ENDED = {str(ProcessState.STOPPED), str(ProcessState.DONE)}
POLL_SECONDS = 0.2
CODE_KEPT_SECONDS = 600.0
REMOVING = ".gone-"  # before the name of a copy of code that is being removed
REMOVED = {"state": State.GONE, "removed": True}


@dataclass(frozen=True)
class Removed:
    """What went: Redis keys, topics, directories."""

    generation: str
    keys: int
    topics: tuple[str, ...]
    directories: tuple[str, ...]


def collectable(now: Generations) -> list[int]:
    """Generations that are given up and not yet removed, and those before the live one that no rollback goes back to.

    Of the latter those that pause; a replay that somebody lets pause is begun after the live one, and theirs to name.
    """
    return [
        number
        for number, each in sorted(now.known.items())
        if number != now.live
        and (
            (each.state is State.GONE and not each.removed)
            or (each.state is State.PAUSED and number != now.before and number < (now.live or 0))
        )
    ]


def check_given_up(now: Generations, number: int) -> None:
    """Raise ReplayError for a generation that somebody may still count on, GenerationError for none."""
    found = now.known.get(number)
    if found is None:
        now.of(number)
    if found.state is State.RUNNING and number != now.live:
        raise ReplayError(
            f"expected a generation that is given up or pauses, and g{number} runs: `dataflow replay pause g{number}` "
            f"first, or `dataflow replay cancel g{number}`, which gives it up"
        )


def collect(settings: Settings, numbers: Iterable[int], *, running: bool = True) -> list[Removed]:
    """Remove these generations, also those that are `running`.

    Raises ReplayError for one that is live or still needed, Unavailable.
    """
    failpoints, found = Failpoints(settings), []
    for number in sorted(numbers, reverse=True):  # one may be needed by one that was begun after it
        check_not_needed(settings, read_generations(settings), number)
        now = change_generations(settings, lambda now, number=number: _gone(now, number, running))
        generation = now.known[number].generation
        failpoints.hit("replay.after_gone")
        _await_end(settings, generation)
        try:
            keys = remove_generation(settings, generation.name, None)
        except Unavailable as error:
            raise Unavailable(
                f"{generation.name} is given up, and {error}. The same command goes on with it"
            ) from error
        forget_differences(settings, number)
        failpoints.hit("replay.after_keys")
        topics = _delete_topics(settings, generation)
        failpoints.hit("replay.after_topics")
        directories = _delete_directories(settings, generation)
        found.append(Removed(generation.name, keys, topics, directories))
        change_generations(settings, lambda _, name=generation.name: {f"{name}/state": REMOVED})
    return found


def _gone(now: Generations, number: int, running: bool) -> dict[str, dict[str, str]]:
    if number == now.live:
        raise ReplayError(f"expected a generation that nobody reads, and g{number} is the live one")
    if number not in now.known:
        raise ReplayError(f"expected a generation that was started, saw g{number}")
    if not running:
        check_given_up(now, number)  # which may have changed while somebody was asked
    return {} if now.known[number].state is State.GONE else {f"g{number}/state": {"state": State.GONE}}


def check_not_needed(settings: Settings, now: Generations, number: int) -> None:
    """Raise ReplayError while another generation has not taken over what only bronze of this one holds."""
    for other in now.known.values():
        generation = other.generation
        clone, archive = generation.clone, generation.archive
        if (
            clone is not None
            and clone.number == number
            and other.state is not State.GONE
            and newest_manifest(lake_root(settings, generation.name)) is None
        ):
            raise ReplayError(
                f"expected a generation that nobody needs, and the lake of {generation.name} is to begin as that of "
                f"g{number} and has not yet: wait until it has"
            )
        if archive is None or archive.number != number or other.state is State.GONE:
            continue
        manifest = newest_manifest(lake_root(settings, generation.name))
        taken = manifest.until if manifest else {}
        if any(taken.get(at, 0) < seam for at, seam in generation.seams().items() if seam):
            raise ReplayError(
                f"expected a generation that nobody needs, and {generation.name} was begun from the bronze tables "
                f"of g{number} and has not taken them over yet: wait until its lake has caught up"
            )


def _await_end(settings: Settings, generation: Generation) -> None:
    """Raises Unavailable while its processes do not end: they would make again what is removed."""
    deadline = time.monotonic() + ENDING_SECONDS
    while left := unended(settings, generation):
        if time.monotonic() > deadline:
            raise Unavailable(f"the processes {', '.join(left)} have not ended: try again when they have")
        time.sleep(POLL_SECONDS)


def unended(settings: Settings, generation: Generation) -> list[str]:
    """Its processes on this machine that run, or will again."""
    run = read_run(settings.state_dir)
    if run is None or not run.is_alive():
        return []
    # One that waits to be started again has no process now, and has one soon.
    beside = [row["name"] for row in run.processes if row["name"].endswith(suffix(generation.name))]
    first = [row["name"] for row in run.processes if row["name"] in BOUND and row["state"] not in ENDED]
    return beside + (first if run.serves == generation.number else [])


def _delete_topics(settings: Settings, generation: Generation) -> tuple[str, ...]:
    client = admin(settings.kafka_bootstrap_servers)
    names = [generation.judged_topic(settings), generation.dead_letter_topic(settings)]
    gone = []
    for name, future in client.delete_topics(names, operation_timeout=TIMEOUT).items():
        try:
            future.result(TIMEOUT)
            gone.append(name)
        except (KafkaException, TimeoutError) as error:
            code = error.args[0].code() if isinstance(error, KafkaException) else None
            if code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Unavailable(f"topic {name} could not be removed: {error}") from error
    return tuple(gone)


def _delete_directories(settings: Settings, generation: Generation) -> tuple[str, ...]:
    checkpoints = settings.state_dir / "checkpoints"
    places = [checkpoints / generation.name, checkpoints / f"{generation.name}-lake"]
    places += [settings.state_dir / part / generation.name for part in ("upkeep", "filling")]
    root = lake_root(settings, generation.name)
    if "://" not in root:
        places += [Path(root), Path(root + DRAFT)]
    places += _unused_code(settings)
    gone = [place for place in places if place.exists()]
    for place in gone:
        if place.parent == settings.state_dir / "code":
            # Half of a copy would be taken for a whole one.
            removing = place.with_name(f"{REMOVING}{place.name}")
            _remove(removing)  # what is left of one that was killed
            with suppress(FileNotFoundError):
                place.rename(removing)
            place = removing
        _remove(place)
    for left in (settings.state_dir / "code").glob(".*"):
        if _is_old(left):
            shutil.rmtree(left, ignore_errors=True)
    for pattern in ("logs/*{}.log*", "status/*{}.*"):
        for file in settings.state_dir.glob(pattern.format(suffix(generation.name))):
            file.unlink(missing_ok=True)
    return tuple(str(place) for place in gone)


def _remove(place: Path) -> None:
    """A directory, though somebody else may be removing it at the same time. Raises OSError."""
    while place.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(place)


def _unused_code(settings: Settings) -> list[Path]:
    """Copies that nobody runs by, but for what was made, or asked for, just now: who did that has yet to record it."""
    used = used_code(settings)
    copies = (settings.state_dir / "code").glob("[!.]*")
    return [copy for copy in copies if copy.name not in used and _is_old(copy)]


def _is_old(copy: Path) -> bool:
    try:
        return time.time() - copy.stat().st_mtime > CODE_KEPT_SECONDS
    except FileNotFoundError:  # removed by somebody else
        return False


def used_code(settings: Settings) -> set[str]:
    """Digests of the copies of code that generations, or the platform of this machine, run by."""
    known, run = read_generations(settings).known.values(), read_run(settings.state_dir)
    used = {each.code["digest"] for each in known if each.code and each.state is not State.GONE}
    return used | ({run.code} if run is not None and run.is_alive() and run.code else set())
