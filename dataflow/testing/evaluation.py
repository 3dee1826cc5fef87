"""One generation of the time machine, from the test's side: a process by its own code, which is asked line by line."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from dataflow.testing.pipeline import Row, Where
from infra.settings import Settings

TIMEOUT = 60.0


class Evaluation:
    """One generation, evaluated as far as the time machine has come."""

    def __init__(self, settings: Settings, number: int, code: Mapping[str, str]) -> None:
        self.settings, self.number, self._code = settings.replace(dataflow_generation=number), number, code
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = settings.state_dir / f"g{number}.log"

    @property
    def name(self) -> str:
        return f"g{self.number}"

    def rows(
        self, metric: str, grain: str = "all", by: str | Sequence[str] = (), where: Where | None = None
    ) -> list[Row]:
        """A metric's rows out of Redis; see `Numbers.rows`. Money and ratios are text."""
        by = [name for name in by.split(",") if name] if isinstance(by, str) else list(by)
        return self._ask("rows", metric=metric, grain=grain, by=by, where=where)

    def table(self, name: str, manifest: int | None = None) -> list[Row]:
        """The rows of a table or view, as REST shows them, nothing masked; at an earlier manifest, if it is named."""
        return self._ask("table", name=name, manifest=manifest)

    def differences(self) -> list[dict[str, Any]]:
        """What a second, independent computation over the same offsets finds to be otherwise; empty: nothing."""
        return self._ask("verify")

    def evaluate(self, failpoint: str | None = None) -> int:
        """Everything in the topics; returns the manifest's number. It dies once at `failpoint` and goes on.

        AssertionError if nothing leads there.
        """
        if failpoint is not None:
            self.stop()
            # What another one left when it died there would let this one pass.
            marker = self.settings.state_dir / "failpoints" / failpoint.partition(":")[0]
            marker.unlink(missing_ok=True)
            try:
                self._ask("evaluate", failpoint=failpoint)
            except Killed:
                if not marker.exists():  # by whomever, and who knows where
                    raise
                self.kills += 1
            else:
                self.stop()  # else the next one that comes there dies
                raise AssertionError(
                    f"nothing came to failpoint {failpoint} in {self.name}, so nothing was killed"
                )
        return self._ask("evaluate")["manifest"]

    def stop(self) -> None:
        """End its process; what it knows is in its topics, in Redis and in its lake."""
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _ask(self, what: str, failpoint: str | None = None, **arguments: Any) -> Any:
        if self._process is None:
            self._start(failpoint)
        with suppress(BrokenPipeError):  # it has ended: how, the answer says
            self._process.stdin.write(orjson.dumps({"do": what, **arguments}) + b"\n")
            self._process.stdin.flush()
        return self._answer()

    def _start(self, failpoint: str | None) -> None:
        settings = self.settings.replace(dataflow_failpoint=failpoint)
        environ = environment_of(settings, self._code)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "dataflow.testing.evaluating"],
                env=environ,
                cwd=self.settings.state_dir,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._answer()

    def _answer(self) -> Any:
        if line := self._process.stdout.readline():
            return orjson.loads(line)
        process, self._process = self._process, None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        if (status := process.wait(TIMEOUT)) == -9:
            raise Killed(
                f"the evaluation of {self.name} was killed: if not at a failpoint, for want of memory?"
            )
        said = self._log.read_text("utf-8", "replace")[-3_000:]
        raise AssertionError(f"the evaluation of {self.name} ended with {status} and said:\n{said}")


class Killed(AssertionError):
    """The process was killed, as by its failpoint."""


def environment_of(settings: Settings, code: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process by a generation's code."""
    return {**os.environ, **settings.environ(), **code}
