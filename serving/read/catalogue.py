"""What can be asked of a metric: its declaration, as far as a reader is concerned. Pure."""

from typing import Any

from schemas.metric import AnyMetric
from serving.read.query import figures_of, grains_of


def describe(metric: AnyMetric) -> dict[str, Any]:
    """A metric's declaration, as far as a reader is concerned."""
    docs = {m.name: m.doc for m in (*metric.measures, *getattr(metric, "derived", ()))}
    return {
        "name": metric.name,
        "doc": metric.doc,
        "href": f"/v1/metrics/{metric.name}",
        "grains": list(grains_of(metric)),
        "dimensions": list(getattr(metric, "by", ())),
        "rollups": [{"name": r.name, "through": r.through} for r in getattr(metric, "rollups", ())],
        "figures": [
            {"name": name, "unit": unit, "doc": docs[name]} for name, unit in figures_of(metric).items()
        ],
    }
