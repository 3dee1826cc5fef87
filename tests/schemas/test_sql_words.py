"""Whatever may be the name of a field or a topic goes without quotes through every SQL that it stands in."""

import duckdb
import pytest
from sqlglot import exp
from sqlglot.dialects import DuckDB, Spark
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Tokenizer

from schemas.errors import ContractError
from schemas.expression import compile_expression, parsed
from schemas.extension import NAME
from schemas.sql_words import SQL_WORDS


def words() -> list[str]:
    """What DuckDB and the readers of both dialects know as words."""
    known = {word for (word,) in duckdb.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()}
    for tokenizer in (Tokenizer, DuckDB.Tokenizer, Spark.Tokenizer):
        known |= {word.lower() for word in tokenizer.KEYWORDS}
    return sorted(word for word in known if NAME.fullmatch(word))


def test_there_are_some() -> None:
    assert len(words()) > 300
    assert set(words()) >= SQL_WORDS - {"connect_by_root"}


@pytest.mark.parametrize("word", sorted(set(words()) - SQL_WORDS))
def test_any_other_is_a_column_and_a_table(word: str) -> None:
    sums = f"{word} + {word} > 1 AND {word} * {word} - 1 = 0"
    expression = f"{word} >= 1 AND NOT {word} IN (2) AND {sums} AND {word} IS NOT NULL"
    assert {column.name for column in parsed(expression).find_all(exp.Column)} == {word}
    assert compile_expression(expression, {word: 0})[0]({word: 1}) is True
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE {word} ({word} INTEGER); INSERT INTO {word} VALUES (1)")
        found = database.execute(
            f"SELECT {word}, r.{word} FROM {word} AS r WHERE {parsed(expression).sql(dialect='duckdb')}"
        ).fetchall()
    assert found == [(1, 1)]


@pytest.mark.parametrize("text", ["", "a, b", "a AS b", "a FROM b", "DISTINCT a", "a; b", "a LIMIT 1", "*"])
def test_what_is_not_one_expression_is_refused(text: str) -> None:
    with pytest.raises((ContractError, SqlglotError)) as refused:
        compile_expression(text, {"a": 0, "b": 0})
    assert isinstance(refused.value, ContractError)
