"""What is prepared before anything starts: what one contract lacks costs no other, nor the live generation."""

import pytest

from infra import bootstrap as bootstrap_module
from infra.bootstrap import bootstrap
from infra.generations import change_generations
from infra.registry import Registry, register_contracts, schema_ids, subject
from schemas.contract import CONTRACTS
from schemas.errors import ContractError, Unavailable

pytestmark = pytest.mark.slow
OTHER_CODE = {"digest": "abc", "declared": {"metric revenue": "another one"}}


@pytest.fixture
def settings(settings):
    return settings.replace(kafka_partitions=1)


def test_a_schema_that_is_refused_keeps_no_other_from_being_registered(settings):
    first = next(iter(CONTRACTS))
    registry = Registry(settings.kafka_schema_registry)
    # Records of it have nothing of what the contract wants.
    registry.register(subject(settings, first), {"type": "record", "name": "Other", "fields": []})
    registry.close()
    with pytest.raises(ContractError, match=f"the registry refuses the schema of {subject(settings, first)}"):
        register_contracts(settings)
    others = [topic for topic in CONTRACTS if topic != first]
    assert list(schema_ids(settings, others)) == others
    with pytest.raises(ContractError, match=f"schema of {first} in the registry; saw none.*infra.bootstrap"):
        schema_ids(settings)


def test_a_live_generation_with_code_of_its_own_waits_for_nothing_that_only_this_code_needs(
    settings, monkeypatch, capsys
):
    monkeypatch.setattr(bootstrap_module, "PATIENCE_SECONDS", 0)
    live = bootstrap(settings, pinned=True)
    away = settings.replace(kafka_schema_registry="http://127.0.0.1:9/apis/ccompat/v7")
    with pytest.raises(Unavailable):
        bootstrap(away, pinned=True)  # it goes by this code
    change_generations(settings, lambda _: {f"{live.name}/code": OTHER_CODE})
    assert bootstrap(away, pinned=True) == live
    assert (
        "g1 goes on without what is here: the schema registry at http://127.0.0.1:9"
        in capsys.readouterr().err
    )
    with pytest.raises(Unavailable):
        bootstrap(away)
