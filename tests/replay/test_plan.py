"""Plans of replays and what a promote is refused for: values only, nothing runs."""

import json
import os
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataflow.commands.replay_status import followed
from dataflow.replay_text import plan_text, progress_text
from infra.generations import Archive, Clone, Generation, Generations, Recorded, State
from infra.kafka import TopicIdentity
from infra.runtime.birth import birth
from infra.runtime.run_state import ADDRESSES, Run, write_run
from replay.affected import affected
from replay.collect import collectable
from replay.diff.values import Comparison, DayDifference, RelationDifference, Side, Tally
from replay.differences import Kept, keep_difference, kept_difference, kept_of
from replay.errors import ReplayError
from replay.guards import (
    NUMBERS_BEHIND,
    Guards,
    check_caught_up,
    check_difference,
    check_judging,
    check_lake_reached,
    check_processes,
    check_reached,
    check_running,
    check_verified,
)
from replay.plan import UNRECORDED, Estimate, Plan, Span, stages
from replay.planning import (
    BYTES_A_RECORD,
    RECORDS_PER_SECOND,
    SPARE,
    check_days,
    check_room,
    estimate,
    live_of,
    refuse_second,
)
from replay.selection import Selection, affected_by, check_selection
from replay.verify.finding import upheld
from schemas.contract import CONTRACTS
from schemas.metrics import METRICS
from schemas.tables import TABLES
from schemas.views import VIEWS
from serving.generation_progress import Pace, Paces, Progress
from serving.verified import Found
from streams.lake.place import lake_root
from tests.helpers import isolated_settings

SPANS = (Span("orders", 0, 0, 40, 100), Span("orders", 1, 5, 0, 25), Span("reviews", 0, 0, 0, 0))
NOW = 1_790_000_000.0  # seconds
PLAN = Plan(
    2,
    1,
    "abc",
    ("metric revenue",),
    affected(["metric revenue"]),
    SPANS,
    Archive(1, 9, {"orders": [40, 0]}),
    2_000,
    Estimate(60.0, 10**9, 2 * 10**9),
)


def generation(number: int, archive: Archive | None = None) -> Generation:
    return Generation(number, {"orders": TopicIdentity("id", 2)}, archive=archive)


def world(live: int | None, before: int | None = None, **states: State) -> Generations:
    known = {int(name[1:]): Recorded(generation(int(name[1:])), state) for name, state in states.items()}
    return Generations(live, before, known)


def test_a_span_is_split_at_its_seam():
    assert [(span.archived, span.from_kafka) for span in SPANS] == [(40, 60), (0, 20), (0, 0)]
    assert Span("orders", 0, 0, 120, 100).archived == 100
    assert Span("orders", 0, 0, 120, 100).from_kafka == 0
    assert PLAN.records == 120


def test_a_plan_is_the_same_after_it_was_recorded():
    whole = replace(PLAN, stages=stages(PLAN))
    assert Plan.from_json(whole.as_json()) == whole


def test_the_text_says_what_is_read_from_where():
    text = plan_text(replace(PLAN, stages=stages(PLAN)))
    assert "generation g2, beside g1" in text
    assert "Changes: metric revenue" in text
    assert "affects routes: /v1/metrics/revenue" in text
    assert "Records: 120, of which 40 from bronze" in text
    assert "0: 0–100 (bronze below 40), 1: 5–25" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("  ") and line[2].isdigit()] == [
        "keep",
        "register",
        "begin",
        "archive",
        "judge",
        "verify",
        "follow",
    ]


def test_days_that_are_meant_are_recorded_and_told_and_can_be_some():
    assert "days" not in PLAN.as_json()
    week = replace(PLAN, days=("2026-03-01", "2026-03-07"))
    assert Plan.from_json(json.loads(json.dumps(week.as_json()))).days == week.days
    assert "Days: 2026-03-01..2026-03-07; a promote is refused if rows of others differ" in plan_text(week)
    first, last = date(2026, 3, 1), date(2026, 3, 7)
    check_days((first, last), first)
    with pytest.raises(ReplayError, match=r"2026-03-07\.\.2026-03-01"):
        check_days((last, first), last)
    with pytest.raises(ReplayError, match="2026-03-01 is still to come"):
        check_days((first, last), date(2026, 2, 28))


def test_unchanged_code_is_expected_to_give_the_same():
    assert affected([]) == {"tables": (), "views": (), "metrics": (), "routes": ()}
    assert "it should give the same" in plan_text(replace(PLAN, changed=(), affects=affected([])))


@pytest.mark.parametrize(
    ("changed", "tables", "metrics"),
    [
        (["metric items"], set(), {"items"}),
        (["dimension products"], set(), {"items", "reviews"}),
        (["table daily_sales"], {"daily_sales"}, set()),
        (["view revenue_by_day"], set(), set()),
        (["metric that_is_no_more"], set(), set()),
        (["code fold"], set(), set(METRICS)),
        (["code lake"], {n for n, t in TABLES.items() if t.layer != "bronze"}, set(METRICS)),
        (["setting SHOP_TIMEZONE"], {n for n, t in TABLES.items() if t.layer != "bronze"}, set(METRICS)),
    ],
)
def test_what_a_change_affects(changed, tables, metrics):
    found = affected(changed)
    assert (set(found["tables"]), set(found["metrics"])) == (tables, metrics)


def test_a_topic_of_ones_own_affects_no_table_of_the_shop(monkeypatch):
    monkeypatch.setitem(CONTRACTS, "returns", CONTRACTS["reviews"])
    of_all = ("quarantine", "record_outcomes", "sessions")
    found = affected(["contract returns", "rules returns"])
    assert (found["tables"], found["metrics"]) == (of_all, ("events",))
    # One that is no longer declared, too, is missing where what became of all records is told.
    found = affected(["contract gone"])
    assert (found["tables"], found["metrics"]) == (of_all, ("events",))
    assert {TABLES[name].layer for name in affected(["contract reviews"])["tables"]} == {"silver", "gold"}


def test_rules_of_a_topic_affect_what_is_made_of_it():
    found = affected(["rules reviews"])
    assert {"reviews", "quarantine", "product_performance"} <= set(found["tables"])
    assert not {"orders", "raw_reviews"} & set(found["tables"])
    assert set(found["metrics"]) == {"reviews", "events"}
    assert "product_rates" in found["views"]


def test_one_replay_at_a_time():
    refuse_second(world(1, g1=State.RUNNING))
    refuse_second(world(2, 1, g1=State.RUNNING, g2=State.RUNNING, g3=State.GONE))
    with pytest.raises(ReplayError, match=r"generation g3 is one: `dataflow replay promote g3`.*cancel"):
        refuse_second(world(2, 1, g1=State.RUNNING, g2=State.RUNNING, g3=State.RUNNING))
    with pytest.raises(ReplayError, match="dataflow up"):
        live_of(Generations())


def test_too_little_room_is_said_before_anything_is_begun():
    check_room(PLAN)
    check_room(replace(PLAN, estimate=Estimate(1.0, 10, None)))
    with pytest.raises(ReplayError, match=r"expected 3.0 GB of room for g2, and 2.0 GB are free"):
        check_room(replace(PLAN, estimate=Estimate(1.0, 3 * 10**9, 2 * 10**9)))
    beside = replace(PLAN, estimate=Estimate(1.0, 10**9, 2 * 10**9, 3 * 10**9, 10**8))
    with pytest.raises(
        ReplayError, match=r"3.0 GB of room for g2 where the state directory is, and 0.1 GB are free"
    ):
        check_room(beside)
    assert (
        "Room: about 1.00 GB, 2.0 GB are free for the lake; "
        "about 3.00 GB, 0.1 GB are free where the state directory is."
    ) in plan_text(beside)


def test_what_gc_takes_by_itself():
    """A replay that somebody lets pause is theirs to name."""
    now = world(
        3, 2, g1=State.PAUSED, g2=State.PAUSED, g3=State.RUNNING, g4=State.GONE, g5=State.RUNNING, g6=State.PAUSED
    )  # fmt: skip
    assert collectable(now) == [1, 4]


# --- what a promote is refused for

ENDS = {("orders", 0): 10_000, ("orders", 1): 2_000}


def progress(
    numbers: int = 0, lake: int = 0, verified: Found | None = None, manifest: int | None = 7
) -> Progress:
    """So many records behind."""
    starts = dict.fromkeys(ENDS, 0)
    reached = [{**ENDS, ("orders", 0): 10_000 - behind} for behind in (numbers, lake)]
    return Progress("g2", starts, *reached, ENDS, manifest, verified)


def test_a_generation_that_is_behind_is_not_promoted():
    check_caught_up(progress(NUMBERS_BEHIND))
    for behind in (progress(NUMBERS_BEHIND + 1), progress(manifest=None)):
        with pytest.raises(ReplayError, match="caught up"):
            check_caught_up(behind)


def test_a_generation_whose_numbers_do_not_follow_is_not_promoted():
    check_reached(progress(3), {("orders", 0): 9_997, ("orders", 1): 2_000})
    with pytest.raises(ReplayError, match=r"have not come to .* 3 records are missing"):
        check_reached(progress(3), ENDS)
    check_judging(1, progress(), 12_000)
    with pytest.raises(ReplayError, match="the live job of g2 to have given verdicts"):
        check_judging(0, progress(), 1)
    check_judging(0, progress(), 0)


def test_a_generation_that_pauses_is_not_promoted():
    check_running(Recorded(generation(2)))
    with pytest.raises(ReplayError, match="it is paused: `dataflow replay resume g2`"):
        check_running(Recorded(generation(2), State.PAUSED))


def test_a_generation_that_is_not_verified_is_not_promoted():
    now = time.time()
    check_verified(progress(verified=Found(True, now - 60, whole_at=now - 600)), now)
    for found, why in (
        (None, "not finished a round"),
        (Found(None, now, detail="no lake yet"), "no lake yet"),
        (Found(True, now, detail="Redis is empty", live=False), r"tables and live numbers.*Redis is empty"),
        (Found(False, now, differences=[{"table": "orders"}]), r"differs in orders.*do not promote"),
        (Found(True, now - 7_200, whole_at=now - 7_200), "2.0 hours ago"),
    ):
        with pytest.raises(ReplayError, match=why):
            check_verified(progress(verified=found), now)
    check_verified(progress(verified=None), now, may_be_missing=True)
    with pytest.raises(ReplayError, match="differs in orders"):
        check_verified(
            progress(verified=Found(False, now, differences=[{"table": "orders"}])), now, may_be_missing=True
        )


def none_of_it(table: str) -> bool:
    return False


def all_of_it(table: str) -> bool:
    return True


def test_what_was_found_wrong_stays_so_until_everything_is_found_equal():
    wrong = Found(False, NOW, differences=[{"table": "orders"}])
    equal, part = Found(True, NOW + 60, live=True), Found(True, NOW + 60, "no live numbers")
    nothing = Found(None, NOW + 60, "Redis does not answer")
    assert upheld(equal, None, none_of_it) is equal
    assert upheld(equal, wrong, all_of_it) is equal
    for found in (equal, part, nothing):
        told = upheld(found, wrong, none_of_it)
        assert (told.exact, told.at, told.differences) == (False, NOW, wrong.differences)
        with pytest.raises(ReplayError, match="differs in orders"):
            check_verified(progress(verified=told), NOW + 60, may_be_missing=True)
    worse = Found(False, NOW + 60, differences=[{"table": "payments"}])
    assert upheld(worse, wrong, all_of_it) is worse
    assert upheld(worse, wrong, none_of_it).differences == [*worse.differences, *wrong.differences]


def test_a_lake_behind_the_live_one_is_not_promoted():
    check_lake_reached(progress(lake=5), {("orders", 0): 9_995})
    with pytest.raises(ReplayError, match=r"(?s)2\s+records are missing"):
        check_lake_reached(progress(lake=5), {("orders", 0): 9_997})
    # Of a topic that only the live one reads nothing is missing: it came, or went, with the code.
    check_lake_reached(progress(), {**ENDS, ("parcels", 0): 1_000})


def test_a_difference_that_nobody_expects_or_has_seen_is_not_promoted():
    recorded = Recorded(generation(2), plan=PLAN.as_json())
    seen = Kept(1, 2, NOW, {"metric revenue": 0.04})
    check_difference(Kept(1, 2, NOW, {}), recorded, Guards(), NOW)
    check_difference(seen, recorded, Guards(), NOW)
    with pytest.raises(ReplayError, match=r"within the last day, and that was 2.0 days ago"):
        check_difference(seen, recorded, Guards(), NOW + 2 * 86_400)
    with pytest.raises(ReplayError, match="looked at the difference"):
        check_difference(None, recorded, Guards(), NOW)
    with pytest.raises(
        ReplayError, match=r"only where the plan has changes \(metric revenue\).*in table orders"
    ):
        check_difference(
            Kept(1, 2, NOW, {"metric revenue": 0.01, "table orders": 0.01}), recorded, Guards(), NOW
        )
    # What the plan changes may differ in every row, unless somebody has stated how much.
    changed = Kept(1, 2, NOW, {"metric revenue": 1.0})
    check_difference(changed, recorded, Guards(), NOW)
    with pytest.raises(ReplayError, match=r"at most 5.0%.*revenue it is 100.0%.*--max-difference 1.000"):
        check_difference(changed, recorded, Guards(most_differing=0.05), NOW)
    # The metric is meant to change, the table of its name is not.
    payments = replace(PLAN, changed=(), affects={"metrics": ("payments",)})
    namesake = Kept(1, 2, NOW, {"metric payments": 1.0, "table payments": 0.01})
    with pytest.raises(ReplayError, match=r"\(metric payments\).*some in table payments"):
        check_difference(namesake, Recorded(generation(2), plan=payments.as_json()), Guards(), NOW)
    with pytest.raises(ReplayError, match=r"at most 5.0%.*orders it is 60.0%.*--max-difference 0.600"):
        check_difference(
            Kept(1, 2, NOW, {"table orders": 0.6, "metric revenue": 0.9}),
            recorded,
            Guards(unexpected=True),
            NOW,
        )
    check_difference(
        Kept(1, 2, NOW, {"table orders": 0.6}), recorded, Guards(most_differing=1.0, unexpected=True), NOW
    )


def test_what_has_failed_is_not_promoted(tmp_path):
    """The topics may be quiet, and nobody would notice before new records come."""
    settings = isolated_settings(tmp_path)
    settings.state_dir.mkdir(parents=True)
    addresses = {name: getattr(settings, name) for name in ADDRESSES}

    def with_states(live: str, beside: str) -> None:
        rows = [{"name": "live", "state": live}, {"name": "live@g2", "state": beside}]
        whole = {"pid": None, "birth": None, "port": None, "restarts": 0, "since": 0}
        rows = [{**whole, **row} for row in rows]
        run = Run("r", os.getpid(), birth(), settings.dataflow_env, NOW, None, addresses, rows, serves=1)
        write_run(settings.state_dir, run)

    with_states("failed", "ready")
    check_processes(settings, generation(2))
    with_states("ready", "failed")
    with pytest.raises(ReplayError, match=r"of g2 to run, and live@g2 failed"):
        check_processes(settings, generation(2))


def test_what_nobody_need_have_seen_counts_if_somebody_has():
    recorded, undiffed = Recorded(generation(2), plan=PLAN.as_json()), Guards(undiffed=True)
    check_difference(None, recorded, undiffed, NOW)
    old = NOW + 2 * 86_400
    check_difference(Kept(1, 2, NOW, {"metric revenue": 1.0}), recorded, undiffed, old)
    with pytest.raises(ReplayError, match="some in table orders"):
        check_difference(Kept(1, 2, NOW, {"table orders": 0.01}), recorded, undiffed, old)
    stated = Guards(undiffed=True, most_differing=0.01)
    with pytest.raises(ReplayError, match=r"revenue it is 100\.0%"):
        check_difference(Kept(1, 2, NOW, {"metric revenue": 1.0}), recorded, stated, old)
    with pytest.raises(
        ReplayError, match=r"to hold against --max-difference 0\.01.*leave one of the two out"
    ):
        check_difference(None, recorded, stated, NOW)


def test_what_has_another_name_now_is_expected_to_differ_by_its_old_one():
    renamed = replace(PLAN, changed=("metric revenue", "metric takings"), affects={"metrics": ("takings",)})
    both = Kept(1, 2, NOW, {"metric revenue": 1.0, "metric takings": 1.0})
    check_difference(both, Recorded(generation(2), plan=renamed.as_json()), Guards(), NOW)


def test_rows_of_days_that_nobody_meant_are_not_promoted():
    week = replace(PLAN, days=("2026-03-01", "2026-03-07"))
    recorded = Recorded(generation(2), plan=week.as_json())

    def differing(*days: str) -> Kept:
        return Kept(1, 2, NOW, {"metric revenue": 0.01}, {"metric revenue": days})

    check_difference(differing(), recorded, Guards(), NOW)
    check_difference(differing("2026-03-01", "2026-03-07"), recorded, Guards(), NOW)
    with pytest.raises(ReplayError, match=r"revenue differs at 2026-03-08 and 1 more: .*--unexpected"):
        check_difference(differing("2026-03-02", "2026-03-08", "2026-03-09"), recorded, Guards(), NOW)
    with pytest.raises(ReplayError, match="revenue differs at rows without a day: "):
        check_difference(differing("2026-03-02", ""), recorded, Guards(), NOW)
    check_difference(differing("2026-04-01"), recorded, Guards(unexpected=True), NOW)
    check_difference(differing("2026-04-01"), Recorded(generation(2), plan=PLAN.as_json()), Guards(), NOW)


def test_what_is_kept_of_a_difference_has_the_days_of_the_rows_that_differ():
    def differs(kind: str, name: str, *days: date | None) -> RelationDifference:
        found = tuple(DayDifference(day, Tally(1, 1, changed=1), ()) for day in days)
        return RelationDifference(kind, name, name, "", Tally(4, 4, changed=1), days=found)

    second, eighth = date(2026, 3, 2), date(2026, 3, 8)
    sides = Side("g1", 1, "d"), Side("g2", 1, "d")
    relations = (
        differs("table", "payments", second, eighth),
        differs("metric", "payments", second, None),
        differs("metric", "payments"),  # in all
        differs("table", "orders"),
        # Their days are others than that of what happened.
        *(differs("table", name, eighth) for name in ("customer_cohorts", "quarantine", "dim_products")),
        *(differs("table", name, eighth) for name in ("sessions", "dim_date", "products")),
        *(differs("table", name, eighth) for name in ("sales_by_week", "revenue_by_month")),
        differs("table", "revenue_by_day", second),
    )
    kept = kept_of(Comparison(*sides, {}, "USD", relations, made_at=NOW))
    assert kept.days == {
        "table payments": ["2026-03-02", "2026-03-08"],
        "table revenue_by_day": ["2026-03-02"],
        "metric payments": ["", "2026-03-02"],
    }
    assert kept.differing.keys() == {f"{each.kind} {each.name}" for each in relations}
    assert set(kept.differing.values()) == {0.25}


def test_rows_under_other_keys_are_all_rows_and_not_more():
    """A share that is above 1 could not be stated to be meant."""
    other = Tally(4, 4, only_one=4, only_other=4)
    found = (RelationDifference("table", "orders", "orders", "", other),)
    kept = kept_of(Comparison(Side("g1", 1, "d"), Side("g2", 1, "d"), {}, "USD", found, made_at=NOW))
    assert kept.differing == {"table orders": 1.0}
    meant = Guards(most_differing=1.0, unexpected=True)
    check_difference(kept, Recorded(generation(2), plan=PLAN.as_json()), meant, NOW)


def test_a_difference_is_kept_for_who_promotes(tmp_path):
    settings = isolated_settings(tmp_path)
    assert kept_difference(settings, 1, 2) is None
    kept = Kept(1, 2, 1.0, {"revenue": 0.25, "items": 0.1}, {"revenue": ["2026-03-01", ""]})
    keep_difference(settings, kept)
    assert kept_difference(settings, 1, 2) == kept
    # Whoever looks from the other side has looked at the same.
    assert kept_difference(settings, 2, 1) == kept
    keep_difference(settings, later := Kept(2, 1, 2.0, {"items": 0.5}))
    assert kept_difference(settings, 1, 2) == kept_difference(settings, 2, 1) == later
    assert kept_difference(settings, 1, 3) is None
    assert kept.differing["revenue"] == 0.25


def test_progress_tells_rate_and_time_to_go():
    first = progress(9_000, 9_000)
    assert progress_text(progress(2_000, 6_000), first, 3.0, 2_000) == (
        "g2: 6,000 of 12,000 records (50%), lake 6,000 behind, numbers 2,000 behind, 1,000 records/s, about 6 s to go"
    )
    assert "numbers are filled out of it, 1,500 rows so far" in progress_text(
        replace(progress(12_000, 0), filled=1_500), first, 3.0, 2_000
    )


def test_the_pace_is_that_of_the_last_minute_or_since_the_look_before():
    paces = Paces()
    assert paces.see(100.0, progress(9_000, 9_000)) is None
    assert paces.see(110.0, progress(8_000, 9_000)) == Pace(0.0, 0.0, None)  # the slower of the two
    assert paces.see(130.0, progress(6_000, 6_000)) == Pace(100.0, 0.0, 60.0)
    assert paces.see(169.0, progress(5_000, 2_100)) == Pace(4_000 / 59, 0.0, 5_000 / 4_000 * 59)
    # Who asks again after an hour is told the mean of that hour; what was before does not count.
    assert paces.see(3_769.0, progress(1_400)) == Pace(1.0, 0.0, 1_400.0)
    assert paces.see(3_799.0, progress()) == Pace(1_400 / 30, 0.0, 0.0)
    assert paces.see(3_799.0, replace(progress(), generation="g3")) is None
    fewer = replace(progress(1_000), ends={**ENDS, ("orders", 0): 5_000})
    assert paces.see(3_800.0, fewer) is None  # the topics were created again


def test_the_one_that_is_followed_is_the_newest_that_runs_beside_the_live_one():
    def known(live: int, **states: State) -> Generations:
        found = {
            int(name[1:]): Recorded(generation(int(name[1:])), state=state) for name, state in states.items()
        }
        return Generations(live, None, found)

    running, paused, gone = State.RUNNING, State.PAUSED, State.GONE
    assert followed(known(1, g1=running, g2=running, g3=running, g4=paused, g5=gone)) == 3
    assert followed(known(3, g1=running, g2=paused, g3=running)) == 1
    with pytest.raises(ReplayError, match=r"there is none: `dataflow replay run` begins one"):
        followed(known(2, g1=paused, g2=running))


def test_one_that_does_not_come_nearer_is_told_with_the_way_out():
    first = progress(9_000, 9_000)
    grown = first.ends | {("orders", 0): 10_000 + 60 * 500}
    later = replace(first, ends=grown, numbers=grown, lake=grown | {("orders", 0): 30_500})
    told = progress_text(later, first, 60.0, 500)
    assert "the topics grow by 500 records/s, and it takes 500 at most" in told
    assert "`dataflow replay cancel g2`, then run it with a higher --throttle" in told
    starts = replace(first, ends=first.ends | {("orders", 0): 10_000 + 70 * 20})
    for other in (
        progress_text(later, first, 30.0, 500),
        progress_text(later, first, 60.0, 0),
        progress_text(
            starts, first, 70.0, 2_000
        ),  # Spark takes its time, and the topics grow slower than the pace
    ):
        assert "does not come nearer" not in other


# --- a part


def test_a_part_leaves_the_rest_only_if_nothing_that_decides_about_it_has_changed():
    sales, revenue = Selection(tables=("daily_sales",)), Selection(metrics=("revenue",))
    check_selection(sales, [])
    check_selection(sales, ["table daily_sales", "view sales_by_week", "code lake", "code fold"])
    check_selection(revenue, ["metric revenue"])
    check_selection(Selection(("daily_sales",), ("revenue",)), ["metric revenue", "table daily_sales"])
    for only, changed, why in (
        (
            sales,
            ["rules orders"],
            r"table daily_sales only, and rules orders decide about every record: without --table",
        ),
        (revenue, ["code judge"], r"code judge decide about every record"),
        (revenue, ["setting SHOP_TIMEZONE"], r"SHOP_TIMEZONE decide"),
        (revenue, ["contract reviews"], r"contract reviews decide"),
        (
            sales,
            ["table daily_sales", "metric revenue"],
            r"there are others: add --metric revenue; or without",
        ),
        (revenue, ["metric revenue", "table fct_orders"], r"add --table fct_orders"),
        (Selection(("orders",)), [], r"orders is made of the records themselves"),
        (Selection(("record_outcomes", "dim_date")), [], r"record_outcomes|dim_date"),
        (Selection(("sales",)), [], r"expected a table that is declared: .*daily_sales.*; saw sales"),
        (Selection((), ("profit",)), [], r"expected a metric that is declared: .*revenue.*; saw profit"),
    ):
        with pytest.raises(ReplayError, match=why):
            check_selection(only, changed)


def test_a_part_affects_what_is_selected_and_what_reads_it():
    found = affected_by(Selection(("daily_sales",), ("items",)), ["code lake"])
    assert (found["tables"], found["metrics"]) == (("daily_sales",), ("items",))
    assert set(found["views"]) == VIEWS.keys()  # which that code makes
    found = affected_by(Selection(("daily_sales",), ("items",)), [])
    assert {name for name, view in VIEWS.items() if "daily_sales" in view.reads} == set(found["views"])
    assert affected_by(Selection(("daily_sales",)), ["code fold"])["metrics"] == tuple(sorted(METRICS))


def test_a_plan_of_a_part_says_what_it_takes_over_and_reads_back():
    spans = tuple(replace(span, seam=0) for span in SPANS)
    plan = replace(PLAN, spans=spans, archive=None, clone=Clone(1, ("daily_sales",)), lake_first=True)
    plan = replace(plan, stages=stages(plan))
    read = Plan.from_json(json.loads(json.dumps(plan.as_json())))
    assert replace(read, affects=plan.affects) == plan
    told = plan_text(plan)
    assert "Replay of a part, out of the lake of g1, into generation g2" in told
    assert "made anew out of its silver: daily_sales" in told
    assert [stage.name for stage in plan.stages][3:6] == ["clone", "lake", "numbers"]


def test_room_and_time_follow_the_records_and_a_trial_needs_a_share_of_the_lake(tmp_path):
    settings = isolated_settings(tmp_path)
    table = Path(lake_root(settings, "g1"), "orders")
    table.mkdir(parents=True)
    (table / "rows.parquet").write_bytes(bytes(1_000_000))
    whole = estimate(settings, generation(1), 50_000, 0)
    assert whole.disk == SPARE * 1_000_000 + 50_000 * BYTES_A_RECORD
    assert whole.seconds == 50_000 / RECORDS_PER_SECOND
    assert whole.free > 0
    trial = estimate(settings, generation(1), 5_000, 100, 0.1)
    assert trial.disk == SPARE * 100_000 + 5_000 * BYTES_A_RECORD
    assert trial.seconds == 50
    # A lake that is not there yet has no size, and the disk that it would be on has room.
    assert estimate(settings, generation(7), 10, 0).disk == 10 * BYTES_A_RECORD


def test_what_goes_to_another_disk_than_the_lake_does_is_weighed_against_that_one(tmp_path, monkeypatch):
    settings = isolated_settings(tmp_path)
    table = Path(lake_root(settings, "g1"), "orders")
    table.mkdir(parents=True)
    (table / "rows.parquet").write_bytes(bytes(1_000_000))
    whole = estimate(settings, generation(1), 50_000, 0)
    assert (whole.state, whole.state_free) == (0, None)
    stat, lake = Path.stat, Path(lake_root(settings, "g1"))

    def mounted(self, **more):
        """As if the lake were on a disk of its own."""
        found = stat(self, **more)
        return (
            SimpleNamespace(st_dev=-1, st_size=found.st_size, st_mode=found.st_mode)
            if self == lake
            else found
        )

    monkeypatch.setattr(Path, "stat", mounted)
    apart = estimate(settings, generation(1), 50_000, 0)
    assert (apart.disk, apart.state) == (SPARE * 1_000_000, 50_000 * BYTES_A_RECORD)
    assert apart.free > 0
    assert apart.state_free > 0
    assert "state" in replace(PLAN, estimate=apart).as_json()["estimate"]
    # Code that knows of one disk only reads a plan of one.
    assert set(replace(PLAN, estimate=whole).as_json()["estimate"]) == {"seconds", "disk", "free"}
    for each in (apart, whole):
        plan = replace(PLAN, estimate=each)
        assert Plan.from_json(json.loads(json.dumps(plan.as_json()))).estimate == each


def test_where_nobody_knows_what_made_the_live_one_no_difference_is_expected():
    plan = replace(PLAN, changed=(UNRECORDED,), affects=affected([UNRECORDED]))
    recorded = Recorded(generation(2), plan=plan.as_json())
    with pytest.raises(
        ReplayError, match=r"expected differences only where the plan has changes \(nowhere\)"
    ):
        check_difference(Kept(1, 2, NOW, {"metric revenue": 1.0}, {}), recorded, Guards(), NOW)
    check_difference(
        Kept(1, 2, NOW, {"metric revenue": 1.0}, {}),
        recorded,
        Guards(unexpected=True, most_differing=1.0),
        NOW,
    )
