"""Documents as a client sends them, one that is right for each topic that the tests send to."""

import uuid
from typing import Any

TIME = "2026-05-17T09:00:00Z"


def new_id() -> str:
    return str(uuid.uuid4())


ORDER: dict[str, Any] = {
    "order_id": "a8b7c6d5-0000-4000-8000-000000000001",
    "customer_id": None,
    "order_date": TIME,
    "status": "placed",
    "total_amount": "19.99",
    "shipping_country": "DE",
    "payment_method": "card",
    "created_at": TIME,
    "updated_at": TIME,
}
ITEM: dict[str, Any] = {
    "order_item_id": "a8b7c6d5-0000-4000-8000-000000000002",
    "order_id": ORDER["order_id"],
    "product_id": "a8b7c6d5-0000-4000-8000-000000000003",
    "quantity": 2,
    "unit_price": "9.99",
    "discount": "0.00",
    "created_at": TIME,
}
CUSTOMER: dict[str, Any] = {
    "customer_id": "a8b7c6d5-0000-4000-8000-000000000004",
    "email": "jane@example.com",
    "created_at": TIME,
    "updated_at": TIME,
}
VIEW: dict[str, Any] = {
    "session_id": "a8b7c6d5-0000-4000-8000-000000000005",
    "visitor_id": "a8b7c6d5-0000-4000-8000-000000000006",
    "event_type": "product_view",
    "device": "mobile",
}


def order(**changes: Any) -> dict[str, Any]:
    """An order that no other test sends."""
    return {**ORDER, "order_id": new_id(), **changes}


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}
