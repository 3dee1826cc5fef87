"""Where the lake comes first the live job waits for the word where verdicts begin, and only at its first start."""

import json
import threading
import time
from dataclasses import replace

from confluent_kafka import Producer

from infra.bootstrap import bootstrap
from infra.generation import begin_generation
from infra.generations import change_generations
from streams.control import request_repeat
from streams.live.attempt import OVERLAP, Attempt, overlapping, store_attempt
from streams.live.lake_first import wait_for_lake
from streams.stop import StopRequest
from tests.helpers import wait_for


def begun(settings, *, lake_first):
    bootstrap(settings)

    def decide(now):
        generation = replace(begin_generation(settings, now.next_number()), lake_first=lake_first)
        return {generation.name: generation.as_json()}

    change_generations(settings, decide)
    status = settings.state_dir / "status" / "live.json"
    status.parent.mkdir(parents=True, exist_ok=True)
    return settings.replace(dataflow_generation=2, dataflow_status_file=status)


class Waiting:
    """`wait_for_lake` in a thread."""

    def __init__(self, settings):
        self.stop, self.found = StopRequest(), []
        self._thread = threading.Thread(target=lambda: self.found.append(wait_for_lake(settings, self.stop)))
        self._thread.start()

    def ended(self):
        self._thread.join(30)
        return self.found


def test_it_waits_until_it_is_told_where_verdicts_begin(settings):
    settings = begun(settings, lake_first=True)
    waiting = Waiting(settings)
    wait_for(settings.dataflow_status_file.exists, 20, "a status")
    status = json.loads(settings.dataflow_status_file.read_text())
    assert (status["state"], status["waiting_for"]) == ("running", "lake")
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    request_repeat(producer, settings, "g1", {("orders", 0): 3})
    time.sleep(2.5)
    assert waiting.found == [], "the word was on another generation"
    request_repeat(producer, settings, "g2", {("orders", 0): 3})
    assert waiting.ended() == [True]


def test_a_stop_ends_the_waiting(settings):
    waiting = Waiting(begun(settings, lake_first=True))
    waiting.stop.asked = True
    assert waiting.ended() == [False]


def test_who_need_not_wait_goes_on_at_once(settings):
    assert Waiting(begun(settings, lake_first=False)).ended() == [True]


def test_who_has_begun_goes_on_at_once(settings):
    settings = begun(settings, lake_first=True)
    store_attempt(settings.state_dir / "checkpoints" / "g2", Attempt(2, {("orders", 0): 3}))
    assert Waiting(settings).ended() == [True]


def test_some_of_what_the_lake_has_is_judged_again_but_nothing_that_the_topics_have_let_go_of():
    long, short, gone, none = (("orders", p) for p in range(4))
    wanted = {long: 5_000, short: 30, gone: 700, none: 0}
    found = overlapping(wanted, {long: 4_000, short: 0, gone: 900, none: 0})
    assert found == {long: 5_000 - OVERLAP, short: 0, gone: 700, none: 0}
