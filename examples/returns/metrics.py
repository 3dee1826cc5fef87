"""What is measured of returned parcels. Named by DATAFLOW_CONTRACTS; see docs/own-topic.md."""

from schemas.metric import Count, Derived, Metric, Sum

RETURNS = Metric(
    name="returns",
    doc="Parcels sent back, and what was given back for them, at the time they were announced.",
    of="returns",
    at="announced_at",
    by=("cause",),
    measures=(
        Count("parcels", "Parcels announced."),
        Count("refunds", "Parcels that money was given back for.", where="state = 'refunded'"),
        Sum("refunded", "refund", "What was given back."),
    ),
    derived=(
        Derived("average_refund", "refunded / refunds", "Given back per refund.", "money"),
        Derived("refund_rate", "refunds / parcels", "Refunds per parcel.", "ratio"),
    ),
)

METRICS = (RETURNS,)
