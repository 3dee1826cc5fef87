"""The code of a generation: what it is made by, as a copy that stays, and what of it decides about a derived value.

A generation is a function of topics and code. So its processes run from a copy of DataFlow, and of the user's own
contracts, that was taken when it began: whoever edits a declaration meanwhile, or kills a process, changes nothing.
Reads the packages that are running; writes `{state_dir}/code/<digest>/`.
"""

import ast
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from infra.settings import Settings
from schemas.contract import CONTRACTS, OWN_DIRECTORY
from schemas.errors import ContractError, GenerationError
from schemas.metrics import DIMENSIONS, METRICS
from schemas.table import Column
from schemas.tables import TABLES
from schemas.views import VIEWS

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "infra", "sources", "streams", "serving", "replay", "dataflow")
TRIES = 5
OWN = "contracts"  # where a copy has the directory that DATAFLOW_CONTRACTS names
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")

# What decides about derived values beside the declarations, by what it makes.
DECIDING = {
    "judge": (
        "schemas/expression.py",
        "schemas/evolution.py",
        "schemas/compatibility.py",
        "streams/judge.py",
        "streams/reading.py",
        "streams/plain_judge.py",
        "streams/limits.py",
        "streams/live/outputs.py",
        "streams/records.py",
        "serving/materializer/refusals.py",
    ),
    "fold": (
        "schemas/metric.py",
        "serving/fold/*.py",
        "serving/read/query.py",
        "serving/store/functions.lua",
        "serving/materializer/admission.py",
        "serving/materializer/filling.py",
        "serving/materializer/founding.py",
        "serving/materializer/operations.py",
        "serving/materializer/writer.py",
    ),
    "lake": (
        "schemas/view.py",
        "serving/lake/latest.py",
        "serving/lake/views.py",
        "streams/lake/fold.py",
        "streams/lake/frames.py",
        "streams/lake/clone.py",
        "streams/lake/batch.py",
        "streams/lake/batches.py",
        "streams/lake/cuts.py",
        "streams/lake/analysed.py",
        "streams/lake/reading.py",
        "streams/lake/outcomes.py",
        "streams/lake/sessions.py",
        "streams/lake/known.py",
        "streams/lake/parts.py",
        "streams/lake/index.py",
        "streams/lake/change.py",
        "streams/lake/gold/*.py",
    ),
}
SETTING = "setting "  # before the name of one that decides about values
SAID_ONLY = ("doc", "description")  # of a declaration: what changes no value


@dataclass(frozen=True)
class Code:
    """A copy. `declared` has, by what it is about, a digest of what decides: two equal ones make equal values."""

    digest: str
    declared: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "declared": dict(self.declared)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        return cls(body["digest"], body["declared"])


def here(settings: Settings) -> Code:
    """What this process runs, as it is on disk now."""
    return Code(_digest_here(), declared(settings))


def _digest_here() -> str:
    return _digest(_contents([ROOT / package for package in PACKAGES], OWN_DIRECTORY))


def keep(settings: Settings) -> Code:
    """The same, copied unless there is a copy already, which counts as made now. Raises OSError, GenerationError."""
    for _ in range(TRIES):
        last: Exception | None = None
        try:
            found = here(settings)
            if _digest_here() == found.digest and _copied(directory(settings, found.digest)):
                return found
        except (FileNotFoundError, shutil.Error) as error:  # as of an editor's draft
            last = error
    if isinstance(last, shutil.Error):  # all that kept files from being copied; most often one reason for all
        raise OSError(f"the code cannot be copied: {last.args[0][0][2]}")
    if last is not None:
        raise last
    raise GenerationError(
        f"the code changed each of the {TRIES} times that it was copied. Try again when nobody is writing it"
    )


def _copied(target: Path) -> bool:
    """Whether what is here is now in `target`, whose name is its digest."""
    with suppress(FileNotFoundError):
        os.utime(target)
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    try:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, draft / package, ignore=LEFT_OUT)
        if OWN_DIRECTORY:
            shutil.copytree(OWN_DIRECTORY, draft / OWN, ignore=LEFT_OUT)
        # A file that was written meanwhile may be there as it was, or is, or half.
        own = draft / OWN if OWN_DIRECTORY else None
        if _digest(_contents([draft / package for package in PACKAGES], own)) != target.name:
            return False
        try:
            draft.rename(target)
        except OSError:
            if not target.exists():  # else somebody else was faster
                raise
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def directory(settings: Settings, digest: str) -> Path:
    return settings.state_dir / "code" / digest


def environment(
    settings: Settings, digest: str, declared: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The environment variables by which a Python process runs a copy. Raises GenerationError if it is not here.

    The settings that decide about values come from what was `declared` with it.
    """
    found = directory(settings, digest)
    if not found.is_dir():
        raise GenerationError(
            f"expected the code of the generation in {found}, and there is none: it is kept where the generation was "
            "started. Bring that directory, or make the numbers anew by the code here: `dataflow generation new`"
        )
    own = found / OWN
    inherited = [
        part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and Path(part) != ROOT
    ]
    return {
        "PYTHONPATH": os.pathsep.join([str(found), *inherited]),
        "DATAFLOW_CONTRACTS": str(own) if own.is_dir() else "",
        **{what.removeprefix(SETTING): value for what, value in declared.items() if what.startswith(SETTING)},
    }


def deciding_settings(settings: Settings) -> dict[str, str]:
    """Those that decide about values."""
    return {name: str(getattr(settings, name)) for name in ("shop_timezone", "max_event_bytes")}


def declared(settings: Settings) -> dict[str, str]:
    """What decides about derived values in the code that this process runs: what it is about → digest."""
    found = {SETTING + name.upper(): value for name, value in deciding_settings(settings).items()}
    for contract in CONTRACTS.values():
        found[f"contract {contract.topic}"] = _digest(
            [(contract.avro_json, contract.key, contract.entity_id)]
        )
        found[f"rules {contract.topic}"] = _digest([_said(contract.rules)])
    for kind, each in (("metric", METRICS), ("dimension", DIMENSIONS), ("table", TABLES), ("view", VIEWS)):
        found |= {f"{kind} {name}": _digest([_said(declaration)]) for name, declaration in each.items()}
    for what, patterns in DECIDING.items():
        files = sorted({file for pattern in patterns for file in ROOT.glob(pattern)})
        found[f"code {what}"] = _digest((file.name, _meaning(file)) for file in files)
    return found


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """What decides otherwise in one of them, or is only in one."""
    return sorted(what for what in one.keys() | other.keys() if one.get(what) != other.get(what))


def _contents(packages: Sequence[Path], own: Path | None) -> Iterator[tuple[str, bytes]]:
    """All that is in them, by names that do not depend on where they are."""
    for name, source in [*((each.name, each) for each in packages), *([(OWN, own)] if own else [])]:
        for file in sorted(_files(source)):
            yield f"{name}/{file.relative_to(source).as_posix()}", file.read_bytes()


def _files(source: Path) -> Iterator[Path]:
    """What is copied: see LEFT_OUT."""
    for place, directories, files in os.walk(source, followlinks=True):
        directories[:] = [each for each in directories if not _left_out(each)]
        yield from (
            Path(place, file) for file in files if not _left_out(file) and Path(place, file).is_file()
        )


def _left_out(name: str) -> bool:
    return bool(LEFT_OUT("", [name]))


def _said(value: Any) -> Any:
    """A declaration without what is only said about it: by a figure's unit it is rounded, by a column's it is not."""
    if is_dataclass(value):
        left_out = (*SAID_ONLY, "unit") if isinstance(value, Column) else SAID_ONLY
        return [(f.name, _said(getattr(value, f.name))) for f in fields(value) if f.name not in left_out]
    if isinstance(value, Mapping):
        return [(name, _said(each)) for name, each in value.items()]
    return [_said(each) for each in value] if isinstance(value, tuple | list) else value


def _meaning(file: Path) -> str:
    """A module without its comments and docstrings; anything else as it is."""
    if file.suffix != ".py":
        return file.read_text("utf-8")
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except SyntaxError as error:
        raise ContractError(f"expected Python in {file}, line {error.lineno}; saw: {error.msg}") from None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return ast.dump(tree)


def _digest(parts: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(repr(part).encode())
    return found.hexdigest()[:16]
