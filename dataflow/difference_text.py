"""What `replay.verify.report` says of a difference, as lines of text. Pure."""

from typing import Any

from dataflow.options import printable
from replay.verify.report import ABSENT


def lines(document: dict[str, Any]) -> list[str]:
    """A document as lines of text."""
    head = f"{document['table']}: {document['rows']:,} rows"
    if document["equal"]:
        return [f"{head}, equal"]
    found = [
        f"{head}, expected {document['expected']:,}; {document['missing']:,} missing, "
        f"{document['unexpected']:,} unexpected"
    ]
    for change in document["examples"]:
        key = ", ".join(f"{name}={value}" for name, value in change["row"].items())
        if change["is"] == ABSENT:
            what = "is missing"
        elif change["should_be"] == ABSENT:
            what = "should not be there"
        else:
            what = "; ".join(
                f"{name} is {change['is'][name]}, should be {change['should_be'][name]}"
                for name in change["is"]
            )
        found.append(printable(f"  {key}: {what}"))
    rest = max(document["missing"], document["unexpected"]) - len(document["examples"])
    return [*found, f"  … and {rest:,} more"] if rest > 0 else found
