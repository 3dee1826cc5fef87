"""What an API process asks of its system and its interpreter, beyond what a library should."""

import gc
import resource

# Beside the push clients: Redis, Kafka, files, and requests.
SPARE_FILES = 512
YOUNG, MIDDLE, OLD = 10_000, 20, 50


def raise_file_limit(wanted: int) -> int:
    """Allow as many open files as are wanted, or as the system lets; returns how many of them that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def settle_collector() -> None:
    """Spare the collector what is there for good.

    Schemas, routes and libraries are a hundred thousand objects. To look through them took 40 ms, in which nothing was
    answered, and large requests brought it about again and again; requests leave hardly any cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
