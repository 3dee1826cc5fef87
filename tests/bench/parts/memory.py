"""What an entity costs in Valkey."""

from redis import Redis

from tests.bench.entities import Templates, produce_entities
from tests.bench.parts.part import Figures, Part
from tests.bench.render import Table
from tests.bench.stage import Bench, Stage

TOPICS = ("orders", "order_items", "clickstream")
METHOD = """Entities of one topic after the other, each with one version; `used_memory` of Valkey before and
after, extrapolated to a million. They come from the generator's history of an afternoon, repeated with other
ids on the afternoons before, so the buckets of the metrics (minute, hour, day) grow with the days, as they
would: with fewer entities a minute, each costs more."""


def measure(bench: Bench) -> Figures:
    emissions, wanted = bench.pick((200_000, 200_000), (30_000, 20_000))
    figures: Figures = {"topics": {}}
    with bench.stage("memory") as stage:
        templates = Templates(stage.settings, emissions)
        figures["per_hour"] = {topic: templates.per_hour(topic) for topic in TOPICS}
        counted = stage.produced()
        for topic in TOPICS:
            before = used_memory(stage)
            bench.say(f"{wanted:,} {topic}")
            counted += produce_entities(stage.settings, templates, topic, wanted)
            stage.await_counted(counted)
            used = used_memory(stage) - before
            per_million = round(used / wanted * 1_000_000 / 2**20)
            figures["topics"][topic] = {"entities": wanted, "bytes": used, "mb_per_million": per_million}
    return figures


def used_memory(stage: Stage) -> int:
    with Redis(stage.settings.redis_host, stage.settings.redis_port) as redis:
        return redis.info("memory")["used_memory"]


def tables(figures: Figures) -> list[Table]:
    rows = [
        [topic, each["entities"], round(each["bytes"] / each["entities"]), each["mb_per_million"]]
        for topic, each in figures["topics"].items()
    ]
    rates = ", ".join(f"{n:,} {topic}" for topic, n in figures["per_hour"].items())
    columns = ("topic", "measured entities", "bytes each", "MB per million (extrapolated)")
    return [Table("", columns, rows, [f"an hour of that afternoon has {rates}"])]


PART = Part("memory", "Memory in Valkey", METHOD, measure, tables)
