"""Orders posted to a service, and what it knows of them."""

from features.table import instant

NOW = instant("2027-01-01")


def post(ask, *events):
    return ask("POST", "/v1/events", json={"events": list(events)})


def order(customer_id, amount=20, ts="2024-05-01T12:00:00Z", **more):
    return {"customer_id": customer_id, "ts": ts, "amount": amount, **more}


def orders_of(ask, customer_id):
    return ask("GET", f"/v1/customers/{customer_id}/scores").json()["evidence"]["orders"]
