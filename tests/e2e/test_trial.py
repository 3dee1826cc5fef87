"""A trial through the real jobs: it judges what it was asked to and nothing before, is exact, and stays a trial."""

import pytest

from infra.generation import source_bounds
from infra.generations import read_generations
from infra.kafka import admin, log_bounds
from infra.runtime.platform import Platform
from replay.errors import ReplayError
from replay.guards import Guards
from replay.switch import promote
from replay.verify.verify import verify
from serving.generation_progress import read_progress
from tests.e2e.kit import Rest, Shop
from tests.e2e.test_replay_unchanged import PATIENCE, PROCESSES, replay
from tests.helpers import isolated_settings, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_200)]


@pytest.mark.parametrize("way", [(), ("--lake-first",)], ids=["verdicts", "lake-first"])
def test_a_trial_reads_nothing_from_before_and_is_exact(tmp_path, way):
    chosen = isolated_settings(tmp_path, kafka_partitions=2)
    with Platform(chosen, PROCESSES, preferred_ports=False) as platform:
        settings, rest = platform.settings, Rest(platform.url)
        shop = Shop(settings, 100_000, 83)
        shop.produce(6_000)
        rest.at_ends(settings, PATIENCE)
        first = read_generations(settings).of(1).generation
        _, middle = source_bounds(settings, first)
        shop.produce(600)
        rest.at_ends(settings, PATIENCE)
        begins = [f"--from={topic}/{p}:{offset}" for (topic, p), offset in middle.items()]
        began = replay(settings, "run", "--yes", "--detach", "--throttle", "0", *way, *begins)
        assert (began["plan"]["trial"], began["plan"]["records"]) == (True, 600)
        trial = read_generations(settings).of(2).generation
        wait_for(lambda: read_progress(settings, trial).behind == 0, PATIENCE, "the trial, caught up")

        places = [(trial.judged_topic(settings), p) for p in range(chosen.kafka_partitions)]
        _, written = log_bounds(admin(settings.kafka_bootstrap_servers), places)
        assert sum(written.values()) <= 2 * 600
        found = verify(settings.replace(dataflow_generation=2), patience=PATIENCE, every_byte=True)
        assert found.exact, [each.table for each in found.differences if not each.equal]
        assert sum(found.manifest.counts.values()) == 600
        told = replay(settings, "status")["generations"]
        assert [each["trial"] for each in told] == [False, True]
        with pytest.raises(ReplayError, match="g2 is a trial of some"):
            promote(settings, 2, Guards(True, 1.0, True, True))
        rest.http.close()
