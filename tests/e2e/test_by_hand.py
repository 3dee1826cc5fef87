"""docs/break-it.md and README's five minutes do what they say, on a platform that runs as the demo does.

It has the demo's load and Spark's live job, and is the same one for all, since its start takes longer than the rest.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from textwrap import dedent

import pytest

from dataflow.commands.up import DEMO
from infra.runtime.platform import JOBS, Platform
from schemas.contract import CONTRACTS
from tests.e2e.typed import ROOT, Page, Terminal
from tests.helpers import wait_for
from tests.serving.api.kit import free_port

PAGE = Page("break-it.md")
# Lines of the page's table: what is sent, and the reasons that it may have.
TABLE = {
    sent: set(re.findall(r"`(\w+)`", reasons))
    for sent, reasons in re.findall(
        r"^\| `(\w+)`: .* \| (.*) \|$", (ROOT / "docs" / "break-it.md").read_text("utf-8"), re.MULTILINE
    )
}
# What README shows and this leaves to others: it does not end, needs the lake, is tests/e2e/test_replay.py, or kills.
REPLAYS = tuple(f"dataflow replay {act}" for act in ("run", "diff", "promote"))
LEFT_OUT = ("dataflow watch", "curl -N", "dataflow verify", *REPLAYS, "kill", "python -c 'import redis")
FAILS = {"dataflow schemas check examples/evolution/orders-unfit.avsc --json": 1}

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("break-it")
    own = {"dataflow_env": "break-it", "dataflow_home": home, "kafka_partitions": 1, "api_port": free_port()}
    settings = platform.settings.replace(**own)
    with Platform(settings, JOBS, demo=DEMO, preferred_ports=False) as found:
        yield found


@pytest.fixture(scope="module")
def followed(running: Platform) -> Terminal:
    terminal = Terminal(running.settings, None, running.url)
    terminal.follow(PAGE, FAILS)
    return terminal


def test_the_page_does_what_it_says_and_nothing_was_started_again(
    followed: Terminal, running: Platform
) -> None:
    restarts = {info.name: info.restarts for info in running.supervisor.processes()}
    assert restarts == dict.fromkeys(restarts, 0)


def test_what_readme_says_for_the_first_five_minutes_works(followed: Terminal) -> None:
    typed = []
    for command in readme_commands():
        if command.startswith(LEFT_OUT):
            continue
        answer = followed.run(followed.here(command).replace("--count 10000", "--count 200"))
        typed.append(command.split()[0])
        if command.startswith("curl"):
            assert json.loads(answer).get("status") not in range(400, 600), (command, answer)
        if command.startswith("dataflow dlq list"):
            followed.learn("clickstream/0/12", answer)
        if command.startswith("dataflow metrics revenue"):
            wait_for(lambda command=command: "129.90" in followed.run(command), 60, "the order counted")
    assert Counter(typed) == {"curl": 6, "dataflow": 8, "python": 1}


def readme_commands() -> list[str]:
    """The indented commands of the section, each whole: one with a document in quotes goes over several lines."""
    text = (ROOT / "README.md").read_text("utf-8")
    section = text[text.index("## Five minutes") : text.index("## What is in it")]
    commands: list[str] = []
    for line in dedent("".join(re.findall(r"^    .*\n", section, re.MULTILINE))).splitlines():
        if commands and commands[-1].count("'") % 2:
            commands[-1] += "\n" + line
        else:
            commands.append(line)
    return commands


def test_each_thing_that_can_be_wrong_is_found_again_with_its_reason(followed: Terminal) -> None:
    rules = {
        topic: {rule.name for rule in contract.rules if rule.severity == "reject"}
        for topic, contract in CONTRACTS.items()
    }
    sent: dict[str, str] = {}
    for topic in CONTRACTS:
        said = followed.run(f"python -m examples.broken.produce {topic} all")
        of_topic = dict(line.split() for line in said.splitlines())
        assert rules[topic] < set(of_topic.values())
        sent |= of_topic

    def letters() -> dict[str, list[str]]:
        listed = json.loads(followed.run("dataflow dlq list --limit 100000 --json"))
        return {each["id"]: each["reasons"] for each in listed["letters"] if each["id"] in sent}

    wait_for(lambda: letters().keys() == sent.keys(), 60, f"{len(sent)} dead letters")
    for place, reasons in letters().items():
        name, topic = sent[place], place.partition("/")[0]
        fits = name in reasons if name in rules[topic] else set(reasons) <= TABLE[name]
        assert fits, (place, name, reasons)


def test_the_table_has_everything_that_is_no_rule(followed: Terminal) -> None:
    done = followed.python("-m", "examples.broken.produce")
    names = Counter(re.findall(r"\w+(?=,|$)", done.stderr, re.MULTILINE))
    rules = {rule.name for contract in CONTRACTS.values() for rule in contract.rules}
    assert names.keys() - rules == TABLE.keys()


def test_the_new_schema_is_the_contract_with_what_the_page_says() -> None:
    new = json.loads((ROOT / "examples" / "evolution" / "orders-2.avsc").read_text("utf-8"))["fields"]
    old = json.loads(CONTRACTS["orders"].avro_json)["fields"]
    names = {field["name"]: field.get("aliases", []) for field in new}
    assert names.keys() - {field["name"] for field in old} == {"ship_to", "gift_note"}
    assert names["ship_to"] == ["shipping_country"]
