"""One dead letter for `dataflow dlq show`: its document as lines for people. Pure."""

from typing import Any

from dataflow.options import printable
from serving.dead_letters import hex_dump
from serving.dead_letters.letter import MASK


def letter_lines(document: dict[str, Any], everything: bool) -> list[str]:
    """The document as a person reads it; nothing in it can steer the terminal."""
    return [printable(line) for line in _lines(document, everything)]


def _lines(document: dict[str, Any], everything: bool) -> list[str]:
    facts = {
        "source": _source(document),
        "taken": document["kafka_time"],
        "refused": document["refused_at"],
        "generation": document["generation"],
        "key": "*** (not an id; --bytes shows it)" if document["key"] == MASK else document["key"],
        "size": _size(document),
        "copies": None if document["copies"] == 1 else f"{document['copies']}, this is the newest",
    }
    lines = [document["id"], ""]
    lines += [f"  {name:<10}  {value}" for name, value in facts.items() if value is not None]
    lines += ["", "Reasons"]
    width = max((len(reason["rule"]) for reason in document["reasons"]), default=0)
    for reason in document["reasons"]:
        lines.append(f"  {reason['rule']:<{width}}  {reason['description'] or ''}".rstrip())
    if document["detail"] == MASK:
        lines.append("  *** (what it says may quote the line; --bytes shows it)")
    elif document["detail"]:
        lines.append(f"  {document['detail']}")
    if document["content"]:
        lines += _content_lines(document["content"])
    return lines + _header_lines(document["headers"]) + _byte_lines(document, everything)


def _source(document: dict[str, Any]) -> str:
    if "file" in document:
        return f"{document['file']}, line {document['line']}, {document['source_topic']}"
    return (
        f"{document['source_topic']}, partition {document['source_partition']}, "
        f"offset {document['source_offset']}"
    )


def _size(document: dict[str, Any]) -> str:
    size = f"{document['size']:,} bytes" + ("" if "file" in document else " with its key")
    return f"{size}, of which {document['bytes']['kept']:,} are kept" if document["truncated"] else size


def _content_lines(content: dict[str, Any]) -> list[str]:
    schema, fields = content["schema"], content["fields"]
    named = (
        f", by version {schema['version']} of {schema['topic']} (schema id {schema['id']})" if schema else ""
    )
    lines = ["", f"Record{named}"]
    width = max(map(len, fields), default=0)
    lines += [f"  {name:<{width}}  {'null' if value is None else value}" for name, value in fields.items()]
    lines += [f"  ! {problem}" for problem in content["problems"]]
    return lines


def _header_lines(headers: list[dict[str, str | None]]) -> list[str]:
    width = max((len(each["name"]) for each in headers), default=0)
    rows = [
        f"  {each['name']:<{width}}  {'null' if each['value'] is None else each['value']}" for each in headers
    ]
    hidden = any(each["value"] == MASK for each in headers)
    rows += ["  *** may hold personal data; --bytes shows it"] if hidden else []
    return ["", "Headers", *rows] if rows else []


def _byte_lines(document: dict[str, Any], everything: bool) -> list[str]:
    shown, kept = bytes.fromhex(document["bytes"]["hex"]), document["bytes"]["kept"]
    content = document["content"]
    hidden = kept - len(shown)
    if not shown:
        if not kept:
            return []
        why = "not shown, for they may hold personal data"
        if content is not None and content["fields"]:
            why = "decoded above" + (", as far as they can be" if content["problems"] else "")
        return ["", f"Its {kept:,} bytes are {why}; --bytes shows them."]
    if hidden < 0:
        title = f"All {len(shown):,} bytes, of which the letter keeps {kept:,}"
    else:
        title = f"The first {len(shown)} of {kept:,} bytes" if hidden else f"All {kept:,} bytes that are kept"
    lines = ["", title, *(f"  {row}" for row in hex_dump(shown, text=everything))]
    if hidden > 0:
        lines.append("  the rest may hold personal data; --bytes shows it")
    return lines
