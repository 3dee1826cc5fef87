"""The names of everything that Redis holds. All keys of a generation start with `<env>:<generation>:`.

    meta               hash   epoch, spec, server, newest, newest:<topic>, kafka_time, dims, and what has to be
                              reached before anything is shown: rebuild:<topic>/<p>, reread:<p>; without `spec` there
                              is nothing, or something is half filled in: `filling` names who does it and the last piece
    base, fence        hash   <topic>/<p> → first source offset; next source offset to apply
    judged             hash   <p> → next offset to read in the judged topic
    counts             hash   <topic>/<p>/<verdict> → records
    held               hash   <topic>/<p> → why nothing is applied there until the live job has repeated it
    s:<topic>:<xxxx>   hash   <entity> → the entity's latest version, bucketed so that Redis packs it tightly
    k:<topic>:<key>    hash   the facts of one key (a session): event ids, and under "" what they add up to
    m:<metric>:<grain>:<start>   hash   <dimension>,<dimension>|<measure> → integer (money in minor units)
    z:<metric>:<measure>         sorted set   <key> → newest event time (µs)
    d:<dimension>      hash   <entity> → JSON array of the attributes
    newest:<topic>     list   the records counted last, newest first, as `serving.fold.newest` writes them. The one key
                              that follows the order of counting: a rebuild may order it otherwise, one out of the
                              lake begins it anew

`<env>:ingest:…` keeps the versions that the REST ingest has given, apart from any generation.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote
from zlib import crc32

from infra.settings import Settings

VERDICTS = ("changed", "repeat", "superseded", "refused", "empty")
NULL = "!"


@dataclass(frozen=True)
class Keys:
    """The key names of one generation; `space` is `<env>:<generation>:`."""

    space: str

    @classmethod
    def of(cls, settings: Settings, generation: str) -> "Keys":
        return cls(f"{settings.redis_prefix}{generation}:")

    @property
    def meta(self) -> str:
        return self.space + "meta"

    @property
    def base(self) -> str:
        return self.space + "base"

    @property
    def fence(self) -> str:
        return self.space + "fence"

    @property
    def judged(self) -> str:
        return self.space + "judged"

    @property
    def counts(self) -> str:
        return self.space + "counts"

    @property
    def held(self) -> str:
        return self.space + "held"

    @property
    def channel(self) -> str:
        """The pub/sub channel that every commit announces itself on."""
        return self.space + "live"

    def entity(self, topic: str, entity_id: bytes) -> tuple[str, bytes]:
        """Key and field of an entity's latest version. Small hashes take a fifth of what a key each would."""
        return f"{self.space}s:{topic}:{crc32(entity_id) & 0xFFFF:04x}", entity_id

    def facts(self, topic: str, key: str) -> str:
        return f"{self.space}k:{topic}:{key}"

    def bucket(self, metric: str, grain: str, start: int) -> str:
        return f"{self.space}m:{metric}:{grain}:{start}"

    def active(self, metric: str, measure: str) -> str:
        return f"{self.space}z:{metric}:{measure}"

    def dimension(self, name: str) -> str:
        return f"{self.space}d:{name}"

    def newest(self, topic: str) -> str:
        return f"{self.space}newest:{topic}"


def place(topic: str, partition: int) -> str:
    """A source partition as a field name."""
    return f"{topic}/{partition}"


def parse_place(text: str) -> tuple[str, int]:
    topic, _, partition = text.rpartition("/")
    return topic, int(partition)


def encode_dimensions(values: tuple[object, ...]) -> str:
    """Dimension values as the first part of a bucket's field; null is `!`, which text is never encoded as."""
    return ",".join([NULL if v is None else _quoted(v) for v in values])


@lru_cache(65_536)
def _quoted(value: object) -> str:
    return quote(str(value), safe="-_. ")


# The same fields come with every read.
@lru_cache(65_536)
def decode_field(field: str) -> tuple[tuple[str | None, ...], str]:
    """Dimension values and measure of a bucket's field."""
    dimensions, _, measure = field.rpartition("|")
    return tuple(
        None if v == NULL else unquote(v) for v in dimensions.split(",")
    ) if dimensions else (), measure
