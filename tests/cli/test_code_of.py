"""A command about a generation goes on by the code that this was made by, and else stays what it is."""

import os
import subprocess
import sys

import pytest

from dataflow import code_of
from dataflow.code_of import RUNS_BY, by_the_code_of
from infra.bootstrap import bootstrap
from infra.code import ROOT, changed, declared, directory, here, keep
from infra.generations import change_generations
from schemas.errors import GenerationError


@pytest.fixture
def started(settings, monkeypatch):
    """Environments of what was started instead of this process."""
    found = []
    monkeypatch.setattr(
        code_of.os, "execve", lambda program, line, environ: found.append((program, line, environ))
    )
    return found


def test_only_where_the_code_here_would_say_otherwise(settings, started, monkeypatch):
    settings = settings.replace(kafka_partitions=1)
    bootstrap(settings)
    by_the_code_of(settings)  # nothing is recorded
    code = keep(settings)
    change_generations(settings, lambda _: {"g1/code": code.as_json()})
    by_the_code_of(settings)  # the same
    assert started == []

    other = {**code.declared, "metric revenue": "another"}
    change_generations(settings, lambda _: {"g1/code": {"digest": code.digest, "declared": other}})
    assert changed(other, declared(settings)) == ["metric revenue"]
    by_the_code_of(settings, 1)
    [(program, line, environ)] = started
    found = subprocess.run(  # in the working copy, where its own packages come first otherwise
        [program, "-c", "import infra.code; print(infra.code.__file__)"],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert found.stdout.strip() == str(directory(settings, code.digest) / "infra" / "code.py")
    assert environ["DATAFLOW_ENV_FILE"] == ""
    assert (program, line[:3]) == (sys.executable, [sys.executable, "-m", "dataflow"])
    assert str(settings.state_dir / "code" / code.digest) in environ["PYTHONPATH"].split(os.pathsep)

    monkeypatch.setenv(RUNS_BY, environ[RUNS_BY])
    by_the_code_of(settings, 1)  # that is what runs now
    assert len(started) == 1


def test_a_generation_that_is_not_there_is_an_error(settings, started, capsys):
    settings = settings.replace(kafka_partitions=1)
    bootstrap(settings)
    with pytest.raises(GenerationError, match="g4 was never started"):
        by_the_code_of(settings, 4)
    change_generations(
        settings,
        lambda _: {"g1/code": {**here(settings).as_json(), "digest": "gone", "declared": {"metric x": "1"}}},
    )
    with pytest.raises(GenerationError, match="expected the code of the generation"):
        by_the_code_of(settings)
    by_the_code_of(settings, surely=False)
    assert "by the code that is here, since " in capsys.readouterr().err
    assert started == []
