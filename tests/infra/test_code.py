"""The code of a generation: a copy that runs by itself, and digests that tell whether another would say otherwise."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.code import PACKAGES, ROOT, changed, declared, directory, environment, here, keep
from schemas.errors import GenerationError
from tests.helpers import isolated_settings

TELL = (
    "import infra.code, schemas.metrics, json; "
    "print(json.dumps([infra.code.__file__, list(schemas.metrics.METRICS)]))"
)
DECLARED = (
    "import json; from infra.code import declared; from infra.settings import Settings; "
    "print(json.dumps(declared(Settings.load({'DATAFLOW_ENV_FILE': ''}))))"
)


@pytest.fixture
def settings(tmp_path):
    return isolated_settings(tmp_path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Another working copy, to be edited."""
    copy = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def run(program: str, **environ: str) -> str:
    command = [
        sys.executable,
        "-B",
        "-c",
        program,
    ]  # a cache misses an edit of one second and the same length
    env = {"PATH": "/usr/bin:/bin", "DATAFLOW_ENV_FILE": "", **environ}
    return subprocess.run(
        command, env=env, cwd="/", capture_output=True, text=True, check=True, timeout=120
    ).stdout


def declared_in(tree: Path) -> dict[str, str]:
    return json.loads(run(DECLARED, PYTHONPATH=str(tree)))


def test_a_copy_is_made_once_and_runs_by_itself(settings):
    code = keep(settings)
    assert keep(settings) == here(settings) == code
    assert [path.name for path in (settings.state_dir / "code").iterdir()] == [code.digest]
    assert str(directory(settings, code.digest)) in run(TELL, **environment(settings, code.digest))


def test_what_is_written_while_it_is_copied_is_not_taken_for_something_else(settings, monkeypatch):
    copytree, left = shutil.copytree, iter(["a file more"])

    def slow(source, target, *more, **options):
        copytree(source, target, *more, **options)
        if Path(target).name == "schemas" and next(left, None):
            (target / "written_meanwhile.sql").write_text("half")

    monkeypatch.setattr(shutil, "copytree", slow)
    code = keep(settings)
    assert code == here(settings)
    assert not list(directory(settings, code.digest).rglob("written_meanwhile.sql"))
    assert [path.name for path in (settings.state_dir / "code").iterdir()] == [code.digest]


def test_code_that_is_written_all_the_time_is_not_copied(settings, monkeypatch):
    digests = map(str, itertools.count())
    monkeypatch.setattr("infra.code._digest_here", lambda: next(digests))
    with pytest.raises(GenerationError, match="when nobody is writing it"):
        keep(settings)
    assert not (settings.state_dir / "code").exists()


def test_own_contracts_are_a_part_of_it(settings, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(ROOT / "examples" / "returns", own)
    (own / "avro").rename(tmp_path / "shared")
    (own / "avro").symlink_to(tmp_path / "shared")
    program = (
        "import sys; from infra.code import keep; from infra.settings import Settings; "
        f"print(keep(Settings.load({{'DATAFLOW_ENV_FILE': '', 'DATAFLOW_HOME': {str(tmp_path)!r}}})).digest)"
    )
    digest = run(program, PYTHONPATH=str(ROOT), DATAFLOW_CONTRACTS=str(own)).strip()
    assert digest != here(settings).digest
    there = settings.replace(dataflow_home=tmp_path, dataflow_env="demo")
    shutil.rmtree(own)
    shutil.rmtree(tmp_path / "shared")
    assert '"returns"' in run(TELL, **environment(there, digest))


def test_a_copy_that_is_not_here_is_said_to_be_missing(settings):
    with pytest.raises(
        GenerationError, match=r"expected the code of the generation in .*none.*generation new"
    ):
        environment(settings, "0123")


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("schemas/metrics.py", "\"status = 'cancelled'\"", "\"status = 'shipped'\"", ["metric revenue"]),
        ("schemas/metrics.py", "Total of cancelled orders.", "Another word for the same.", []),
        (
            "schemas/metrics.py",
            '"Gross revenue per order.", "money"',
            '"Gross revenue per order.", "ratio"',
            ["metric revenue"],
        ),
        ("schemas/gold.py", 'unit="money"', 'unit="count"', []),
        ("schemas/rules/orders.yaml", "severity: warn", "severity: reject", ["rules orders"]),
        ("streams/lake/gold/sales.py", '"""', '"""More is said. ', []),
        ("streams/lake/sessions.py", "minutes=30", "minutes=31", ["code lake"]),
        ("serving/fold/fold.py", "# ", "# another remark: ", []),
        ("serving/lake/latest.py", "epoch_us(", "epoch_ms(", ["code lake"]),
        ("serving/store/functions.lua", "local function apply", "local function take", ["code fold"]),
        ("dataflow/main.py", "3, EXIT_TRANSIENT, 130", "3, EXIT_TRANSIENT, 131", []),
    ],
)  # fmt: skip
@pytest.mark.cases(4)
def test_an_edit_shows_by_what_it_is_about_and_only_if_it_decides(tree, file, old, new, expected):
    before, path = declared_in(tree), tree / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    try:
        assert changed(before, declared_in(tree)) == expected
    finally:
        path.write_text(text, "utf-8")


def test_what_is_only_in_one_is_a_change():
    assert changed({"metric a": "1", "metric b": "1"}, {"metric b": "1", "metric c": "1"}) == [
        "metric a",
        "metric c",
    ]


def test_declarations_are_the_same_in_every_process(settings):
    assert declared(settings.replace(shop_timezone="UTC")) == declared_in(ROOT)
