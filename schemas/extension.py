"""Contracts and metrics of a user's own: the directory that DATAFLOW_CONTRACTS names, laid out like `schemas/`.

    avro/<topic>.avsc    the contract of a topic
    rules/<topic>.yaml   its rules between fields, if there are any
    metrics.py           METRICS = (Metric(…), …), and DIMENSIONS = (Dimension(…), …) if there are any

Contracts are declared when `schemas` is imported, before there are settings. So the variable is looked up here as
`infra.settings` looks up all others: in the environment, else in `.env` or the file that DATAFLOW_ENV_FILE names.
"""

import os
import re
import runpy
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from schemas.errors import ContractError
from schemas.sql_words import SQL_WORDS

VARIABLE = "DATAFLOW_CONTRACTS"
ENV_FILE_VARIABLE = "DATAFLOW_ENV_FILE"
# Of topics, metrics, fields and rules: they become Kafka topics, Redis keys, SQL columns and parts of a URL.
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED = SQL_WORDS | {"import"}  # dead letters of file imports are listed under that


def own_directory(environ: Mapping[str, str]) -> Path | None:
    """The directory of the user's own contracts, absolute; None where none is named. Raises ContractError."""
    text = environ.get(VARIABLE) or _from_env_file(environ)
    if not text:
        return None
    directory = Path(text).expanduser().absolute()
    if not (directory / "avro").is_dir():
        raise ContractError(
            f"{VARIABLE}={text}: expected a directory with the contracts in avro/*.avsc, saw "
            f"{'none of that name' if not directory.exists() else 'no avro/ in it'}; correct the variable, or unset it"
        )
    return directory


def own_topics(directory: Path | None, known: Collection[str]) -> list[str]:
    """The topics that `directory` has a contract for. Raises ContractError for a name that is `known`, or is none."""
    if directory is None:
        return []
    found = sorted((directory / "avro").glob("*.avsc"))
    if not found:
        raise ContractError(
            f"{directory / 'avro'}: expected a file <topic>.avsc for each topic, saw none; add one"
        )
    for path in found:
        if not NAME.fullmatch(path.stem) or path.stem in RESERVED:
            raise ContractError(
                f"{path}: expected a topic's name of lower-case letters, digits and '_', not import nor a word of SQL, "
                f"saw {path.stem!r}; rename the file"
            )
        if path.stem in known:
            raise ContractError(
                f"{path}: expected the name of a topic that does not exist yet, saw {path.stem}, which DataFlow has; "
                "rename the file"
            )
    topics = [path.stem for path in found]
    for path in sorted((directory / "rules").glob("*.yaml")):
        if path.stem not in topics:
            raise ContractError(
                f"{path}: expected rules of a topic of {directory / 'avro'} ({', '.join(topics)}), saw {path.stem!r}; "
                "rename the file"
            )
    return topics


def own_declarations(directory: Path | None) -> tuple[Path | None, tuple[Any, ...], tuple[Any, ...]]:
    """`metrics.py` of the directory with its METRICS and DIMENSIONS; no path and nothing where there is none.

    Raises ContractError naming the file and the line if it cannot be run or declares something else than tuples.
    """
    path = None if directory is None else directory / "metrics.py"
    if path is None or not path.exists():
        return None, (), ()
    try:
        names = runpy.run_path(str(path), run_name="dataflow_contracts_metrics")
    except Exception as error:  # whatever the user's file leads to
        line = getattr(error, "lineno", None) or next(
            (
                f.lineno
                for f in reversed(traceback.extract_tb(error.__traceback__))
                if f.filename == str(path)
            ),
            "?",
        )
        raise ContractError(
            f"{path}, line {line}: expected declarations, saw {type(error).__name__}: {one_line(error)}; "
            "correct the file"
        ) from error
    for name in ("METRICS", "DIMENSIONS"):
        if not isinstance(names.get(name, ()), tuple):
            raise ContractError(
                f"{path}: expected {name} to be a tuple, such as (A, B) or (A,), saw "
                f"{type(names[name]).__name__}; write it as one"
            )
    if not names.get("METRICS") and not names.get("DIMENSIONS"):
        raise ContractError(
            f"{path}: expected METRICS = (…), saw no such name; declare it, or remove the file"
        )
    return path, names.get("METRICS", ()), names.get("DIMENSIONS", ())


def one_line(error: object) -> str:
    """A message of somebody else's on one line."""
    return " ".join(str(error).split())


def _from_env_file(environ: Mapping[str, str]) -> str | None:
    file = Path(environ.get(ENV_FILE_VARIABLE, ".env") or os.devnull).expanduser()
    if not file.is_file():
        return None
    # Names of settings are taken in any case, as pydantic takes them.
    return {name.upper(): value for name, value in dotenv_values(file, encoding="utf-8").items()}.get(
        VARIABLE
    )
