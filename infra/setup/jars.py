"""The jars on this machine: brought once, checked against `jars.lock`, then used without a network.

Reads `jars.lock` (per configuration of `ivy.xml`: file name → sha256). Writes `{cache_dir}/jars/<digest of the lock>/`
with `kafka/`, `spark/`, `registry/` (Apicurio's archive unpacked) and `stamp.json`. The directory appears by one
rename, when all in it has been checked; another version of the lock is another directory.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.setup import ivy, stamp
from infra.setup.java import Java
from schemas.errors import SetupError

LOCK_FILE = Path(__file__).with_name("jars.lock")
ARCHIVES = "registry"
Lock = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Jars:
    """Where the checked jars are."""

    kafka: Path
    "Directory of the broker's jars; all of them are its class path."
    spark: tuple[Path, ...]
    "Jars for Spark's own class path (spark.jars)."
    registry: Path
    "Apicurio's program directory, with quarkus-run.jar."


def ensure_jars(cache_dir: Path, java: Java, progress: Callable[[str], None] = lambda _: None) -> Jars:
    """The jars, brought from Maven Central if they are not here yet. Two callers at once wait for one another."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _locked(cache_dir / "jars.flock"):
        home = _home(cache_dir)
        if not home.is_dir():
            progress("bringing the jars from Maven Central (200 MB, once) …")
            _install(home, cache_dir / "ivy", java)
            progress(f"jars checked against {LOCK_FILE.name}")
        return checked_jars(cache_dir)


def checked_jars(cache_dir: Path) -> Jars:
    """The jars, each one as it was when its sha256 was checked. Costs milliseconds; never uses the network.

    Raises SetupError when they are missing, or when one was changed: that file is then removed.
    """
    home = _home(cache_dir)
    if not home.is_dir():
        raise SetupError(
            f"the jars of {LOCK_FILE.name} are not in {home}. Run `make setup` (or `python -m infra.setup`)."
        )
    try:
        stamp.check(home)
    except SetupError:
        # Without its directory the next set-up brings everything again; half a directory would be trusted.
        home.rename(tempfile.mkdtemp(prefix="refused-", dir=home.parent) + "/jars")
        _sweep(home.parent)
        raise
    return Jars(home / "kafka", tuple(sorted((home / "spark").glob("*.jar"))), home / "registry")


def hashes(directory: Path) -> Lock:
    """File name → sha256 per configuration, of what Ivy put into `directory`."""
    return {
        conf.name: {file.name: stamp.sha256(file) for file in sorted(conf.iterdir())}
        for conf in sorted(directory.iterdir())
    }


def check_against_lock(directory: Path, lock: Lock) -> None:
    """Raise SetupError unless `directory` holds exactly the files of `lock`; a file with a wrong hash is removed."""
    for conf, wanted in lock.items():
        seen = {file.name: file for file in (directory / conf).glob("*")}
        if seen.keys() != wanted.keys():
            raise SetupError(
                f"{LOCK_FILE.name} and ivy.xml do not fit for {conf!r}: missing {sorted(wanted.keys() - seen.keys())}, "
                f"not expected {sorted(seen.keys() - wanted.keys())}. After a change of ivy.xml run `make lock`."
            )
        for name, expected in wanted.items():
            if (found := stamp.sha256(seen[name])) != expected:
                seen[name].unlink()
                raise SetupError(
                    f"{conf}/{name} is not the file that {LOCK_FILE.name} names: expected sha256 {expected}, found "
                    f"{found}. The file was removed. Run `make setup` again; if it stays so, do not trust the source."
                )


def read_lock() -> Lock:
    """The content of `jars.lock`."""
    return json.loads(LOCK_FILE.read_text())


def _home(cache_dir: Path) -> Path:
    return cache_dir / "jars" / hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:16]


def _install(home: Path, ivy_cache: Path, java: Java) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    _sweep(home.parent)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=home.parent))
    try:
        ivy.retrieve(java, draft, ivy_cache)
        try:
            check_against_lock(draft, read_lock())
        finally:
            # Complete (it has done its work), or it holds the wrong file and would bring it again.
            shutil.rmtree(ivy_cache, ignore_errors=True)
        for archive in sorted((draft / ARCHIVES).glob("*.tar.gz")):
            with tarfile.open(archive) as tar:
                tar.extractall(draft / ARCHIVES, filter="data")
            archive.unlink()
        stamp.write(draft)
        draft.chmod(0o755)
        draft.rename(home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sweep(directory: Path) -> None:
    for left in (*directory.glob("draft-*"), *directory.glob("refused-*")):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
