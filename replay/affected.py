"""What may have other rows when something that decides about them is another: tables, views, metrics, routes. Pure."""

from collections.abc import Iterable

from schemas.contract import SHOP_TOPICS
from schemas.gold import RECORD_OUTCOMES
from schemas.metrics import DIMENSIONS, METRICS
from schemas.tables import TABLES
from schemas.views import VIEWS

KINDS = ("tables", "views", "metrics", "routes")


def affected(changed: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What `infra.code.changed` names → names by kind. What is no longer declared affects nothing that is."""
    tables: set[str] = set()
    views: set[str] = set()
    metrics: set[str] = set()
    for each in changed:
        kind, _, name = each.partition(" ")
        if kind in ("contract", "rules"):
            tables |= _tables_of(name)
            metrics |= _metrics_of(name)
        elif kind == "table":
            tables |= {name} & TABLES.keys()
        elif kind == "view":
            views |= {name} & VIEWS.keys()
        elif kind == "metric":
            metrics |= {name} & METRICS.keys()
        elif kind == "dimension":
            metrics |= {m for m, metric in METRICS.items() if name in _dimensions(metric)}
        elif each == "code fold":
            metrics |= METRICS.keys()
        elif each == "code lake":
            tables |= {name for name, table in TABLES.items() if table.layer != "bronze"}
            # A difference computes them from silver, and what was decided from the manifest.
            metrics |= METRICS.keys()
        else:  # the judge, or a setting that all go by
            tables |= {name for name, table in TABLES.items() if table.layer != "bronze"}
            metrics |= METRICS.keys()
    views |= {name for name, view in VIEWS.items() if tables & set(view.reads)}
    routes = [f"/v1/metrics/{name}" for name in sorted(metrics)]
    routes += [f"/v1/tables/{name}" for name in sorted(tables | views)]
    found = (sorted(tables), sorted(views), sorted(metrics), routes)
    return {kind: tuple(names) for kind, names in zip(KINDS, found, strict=True)}


def _tables_of(topic: str) -> set[str]:
    """Silver of a topic, what it refuses, what became of its records, and gold, of which any may read the shop's.

    Of one that is no longer declared only what was told of all topics.
    """
    return {
        name
        for name, table in TABLES.items()
        if (table.layer == "gold" and (topic in SHOP_TOPICS or name == RECORD_OUTCOMES.name))
        or (table.layer == "silver" and table.topic in (topic, None))
    }


def _metrics_of(topic: str) -> set[str]:
    dimensions = {name for name, dimension in DIMENSIONS.items() if dimension.of == topic}
    return {
        name
        for name, metric in METRICS.items()
        # The verdicts are of all topics.
        if getattr(metric, "of", topic) == topic or dimensions & set(_dimensions(metric))
    }


def _dimensions(metric: object) -> list[str]:
    return [rollup.dimension for rollup in getattr(metric, "rollups", ())]
