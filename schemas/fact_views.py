"""Views of the facts beside their dimensions: as those are now, and as they were at the time of each fact. Data only.

Facts keep natural keys and nothing of their dimensions, so a change of a dimension rewrites no fact.
"""

from schemas.gold import DIM_CUSTOMERS, DIM_PRODUCTS, FCT_ORDER_ITEMS, FCT_ORDERS
from schemas.table import Column, Table
from schemas.view import View

_CURRENT = "of today; null if it is not known, or deleted"
_AS_OF = "as it was then; null if it was not known yet, or deleted"
_ENDS = ("valid_from", "valid_to", "is_current")


def _attributes(dimension: Table, prefix: str, when: str) -> tuple[Column, ...]:
    """The columns of a dimension's row beside a fact; `<prefix>_version` and the key name the row."""
    return tuple(
        Column(
            f"{prefix}_{column.name}",
            column.type,
            f"{column.doc.removesuffix('.')}: {when}.",
            dimension.name,
            True,
            column.unit,
            column.precision,
            column.scale,
        )
        for column in dimension.columns
        if column.name != dimension.key[0] and column.name not in _ENDS
    )


def _selected(columns: tuple[Column, ...], prefix: str) -> str:
    return ", ".join(
        f"{prefix}.{column.name.removeprefix(prefix + '_')} AS {column.name}" for column in columns
    )


def _row_at(prefix: str, owner: str, time: str | None) -> str:
    """The condition that picks a dimension's row: the current one, or that of a time, which ends before `valid_to`."""
    same = f"{prefix}.{prefix}_id = {owner}.{prefix}_id AND"
    if time is None:
        return f"{same} {prefix}.is_current"
    # An end that has not come stands as infinity: a condition with OR would be tried against every pair of rows.
    end = f"coalesce({prefix}.valid_to, TIMESTAMP 'infinity')"
    return f"{same} {time} >= {prefix}.valid_from AND {time} < {end}"


def _wide_facts(as_of: bool) -> tuple[View, View]:
    suffix, when = ("as_of", _AS_OF) if as_of else ("current", _CURRENT)
    customer = _attributes(DIM_CUSTOMERS, "customer", when)
    product = _attributes(DIM_PRODUCTS, "product", when)
    told = (
        "of the row of their {} that held at the time of the fact: from valid_from on, up to valid_to and without it. "
        "A fact before the first version has null there."
        if as_of
        else "of the current row of their {}: a correction moves all history at once."
    )
    orders = View(
        f"fct_orders_{suffix}",
        f"Orders with the attributes {told.format('customer')} A guest's order has null there.",
        (*FCT_ORDERS.columns, *customer),
        FCT_ORDERS.key,
        ("fct_orders", "dim_customers"),
        f"""SELECT o.*, {_selected(customer, "customer")}
FROM fct_orders o
LEFT JOIN dim_customers customer ON {_row_at("customer", "o", "o.order_date" if as_of else None)}""",
        "fct_orders",
    )
    ordered_by = Column(
        "customer_id",
        "string",
        "Who ordered; null for a guest, or until the order is known.",
        "fct_orders",
        True,
    )
    time = "i.created_at" if as_of else None
    items = View(
        f"fct_order_items_{suffix}",
        f"Order lines with the attributes {told.format('product and customer')} A guest's line, or one whose order is "
        "not known, has no customer.",
        (*FCT_ORDER_ITEMS.columns, ordered_by, *customer, *product),
        FCT_ORDER_ITEMS.key,
        ("fct_order_items", "fct_orders", "dim_customers", "dim_products"),
        f"""SELECT i.*, o.customer_id, {_selected(customer, "customer")},
    {_selected(product, "product")}
FROM fct_order_items i
LEFT JOIN fct_orders o ON o.order_id = i.order_id
LEFT JOIN dim_customers customer ON {_row_at("customer", "o", time)}
LEFT JOIN dim_products product ON {_row_at("product", "i", time)}""",
        "fct_order_items",
    )
    return orders, items


FACT_VIEWS = (*_wide_facts(as_of=False), *_wide_facts(as_of=True))
