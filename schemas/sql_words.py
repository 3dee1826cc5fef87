"""Words that SQL keeps for itself, in Spark or in DuckDB: no column and no table can be called so unquoted. Data only.

Topics and fields stand in rules, in the lake and in the queries of its readers, so they may not be called so either.
"""

_WORDS = """
all alter analyse analyze and anti any array as asc asof asymmetric at authorization between binary both by case cast
check collate collation column concurrently connect_by_root constraint create cross current_date current_time
current_timestamp current_user default deferrable desc describe distinct do drop else end except false fetch for force
foreign freeze from full glob grant group having if ilike in initially inner insert install intersect interval into is
isnull join lambda lateral leading left like limit map minus natural not notnull null offset on only or order outer
overlaps partitioned_by pivot pivot_longer pivot_wider placing positional primary qualify references regexp returning
revoke right rlike rollback select semi serdeproperties session_user show similar some summarize symmetric table
tablesample then to trailing true uncache union unique unpack unpivot using values variadic verbose when where window
with xor
"""

SQL_WORDS = frozenset(_WORDS.split())
