"""A crash as data: a marker in a test's input at which the pipeline under test is killed and started again.

A plain `ABORT` is a SIGKILL of all its processes, wherever they are in their work, as soon as everything in front of it
is in the log. With a failpoint it is an exact moment: the process that comes to the failpoint while it works on what is
in front of the marker dies there, between two writes. Either way the pipeline is started again and the input goes on:
the numbers must come out as if there had been no marker.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Abort:
    """`at` names a failpoint, such as `materializer.before_commit`, `:2` behind it its second hit; None: anywhere."""

    at: str | None = None


ABORT = Abort()
