"""A page of the docs that a test follows: its commands are typed as they stand there, and answer what stands there.

A block of `sh` is a command. A block of `json` after it is a part of its answer, one of `text` all of it. A block that
is named after a file has to be in that file. Where a record came to (`orders/0/17`) is another place in each run: what
an answer says there stands for it from then on.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infra.settings import Settings

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"\b([a-z_]+)/(\d+)/(\d+)\b")
HOST = "localhost:8000"  # as the pages have it
PATIENCE = 120.0  # seconds for something to be counted, on a busy machine


@dataclass(frozen=True)
class Step:
    """A command and what it answers; `kind` is json, text or nothing."""

    command: str
    kind: str = ""
    answer: str = ""

    @property
    def only_asks(self) -> bool:
        """Whether it may be typed again until the answer is there."""
        return self.command.startswith("dataflow") or (
            self.command.startswith("curl") and " -d " not in self.command
        )


class Page:
    """A page of docs/, as its blocks."""

    def __init__(self, name: str) -> None:
        self._blocks: list[tuple[str, str, str]] = BLOCK.findall((ROOT / "docs" / name).read_text("utf-8"))

    def quotes(self) -> list[tuple[str, str]]:
        """The files that it quotes, and what it shows of them."""
        return [(file, text) for _, file, text in self._blocks if file]

    def block(self, kind: str) -> str:
        """The one block of a kind."""
        [text] = [text for found, _, text in self._blocks if found == kind]
        return text

    def steps(self) -> list[Step]:
        """Its commands, in order."""
        blocks = [(kind, text.strip()) for kind, file, text in self._blocks if not file]
        following = [*blocks[1:], ("", "")]
        return [
            Step(command, *(answer if answer[0] in ("json", "text") else ()))
            for (kind, command), answer in zip(blocks, following, strict=True)
            if kind == "sh"
        ]


class Terminal:
    """A terminal in which a page's commands are typed; curl is understood as far as the pages need it."""

    def __init__(self, settings: Settings, env_file: Path | None, url: str = "") -> None:
        own = ("DATAFLOW_", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environ = kept | settings.environ() | {"DATAFLOW_ENV_FILE": str(env_file or "")}
        self.url = url
        self._places: dict[str, str] = {}

    def run(self, command: str, status: int = 0) -> str:
        """What a command answers, ending with `status`."""
        program, *arguments = shlex.split(command, comments=True)
        if program == "curl":
            return self._curl(arguments)
        done = self.python(*(["-m", "dataflow"] if program == "dataflow" else []), *arguments)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def follow(self, page: Page, fails: Mapping[str, int] | None = None) -> None:
        """Type every command of a page, in order. One that only asks is asked again until the answer is there.

        `fails` are the commands that end with another status than 0.
        """
        for step in page.steps():
            deadline = time.monotonic() + (PATIENCE if step.only_asks else 0)
            while (wrong := self._typed(step, (fails or {}).get(step.command, 0))) is not None:
                assert time.monotonic() < deadline, wrong
                time.sleep(0.1)

    def _typed(self, step: Step, status: int) -> str | None:
        """What is wrong with what it answers now; None if nothing is."""
        try:
            answer = self.run(self.here(step.command), status)
        except AssertionError as error:
            return f"{self.here(step.command)}\nfailed: {error}"
        if self._fits(step, answer):
            return None
        return f"{self.here(step.command)}\nexpected {self.here(step.answer)}\nsaw {answer}"

    def here(self, text: str) -> str:
        """What stands on a page, with the places of this run."""
        return (
            re.sub("|".join(map(re.escape, self._places)), lambda m: self._places[m[0]], text)
            if self._places
            else text
        )

    def _fits(self, step: Step, answer: str) -> bool:
        if step.kind == "json":
            return is_part(json.loads(self.here(step.answer)), json.loads(answer))
        if step.kind == "text":
            self.learn(step.answer, answer)
            return self.here(step.answer).split() == answer.split()
        return True

    def learn(self, shown: str, answer: str) -> None:
        """What stands for the places of the page in this run; of options, too."""
        for here, there in zip(PLACE.finditer(shown), PLACE.finditer(answer), strict=False):
            self._places[here[0]] = there[0]
            options = "--partition {} --offsets {}"
            self._places[options.format(here[2], here[3])] = options.format(there[2], there[3])

    def _curl(self, arguments: list[str]) -> str:
        address, *options = arguments
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert address.startswith(HOST)
        assert given.keys() <= {"-H", "-d"}, given
        url = self.url + address.removeprefix(HOST)
        if "-d" not in given:
            return httpx.get(url, timeout=30, trust_env=False).text
        body: str | bytes = given["-d"]
        if body.startswith("@"):
            body = (ROOT / body[1:]).read_bytes()
        name, _, value = given["-H"].partition(": ")
        return httpx.post(url, content=body, headers={name: value}, timeout=30, trust_env=False).text


def is_part(expected: Any, seen: Any) -> bool:
    """Whether an answer has all that the page shows of it."""
    if expected in ({}, []):
        return seen == expected
    if isinstance(expected, dict):
        return isinstance(seen, dict) and all(k in seen and is_part(v, seen[k]) for k, v in expected.items())
    if isinstance(expected, list):
        return isinstance(seen, list) and len(seen) == len(expected) and all(map(is_part, expected, seen))
    return expected == seen
