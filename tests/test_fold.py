"""Posted events folded into the store, safely."""

import datetime as dt

from live_fixtures import NOW, order, orders_of, post

from features.store import open_store
from serving import journal
from serving.__main__ import main
from serving.fold import fold

pytest_plugins = ["serving_fixtures"]

SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_a_fold_brings_them_into_the_store_and_empties_the_journal(own_place, started, asker, records):
    app = started(own_place)
    ask, name = asker(app), records[2].customer_id
    before = orders_of(ask, name)
    post(ask, order(name), order(name), order("ann", channel="zeppelin", event="order_completed"))
    post(ask, order(name), order(name, 3))
    events = open_store(own_place / "store").n_events
    folded = fold(own_place / "store", NOW)
    assert (folded.added, folded.known, folded.quarantine) == (4, 0, None)
    assert open_store(own_place / "store").n_events == events + 4
    assert [path.stat().st_size for path in journal.segments(own_place / "store" / "live")] == [0]
    assert orders_of(ask, name) == before + 3  # before the service has the new generation
    app.state.current.refresh()
    assert app.state.current.live.customers() == []
    assert orders_of(ask, name) == before + 3
    assert fold(own_place / "store", NOW).added == 0


def test_scores_are_the_same_before_and_after_a_fold(own_place, started, asker, records):
    app = started(own_place)
    names = [record.customer_id for record in records[:40]]
    day = str(app.state.current.scorer.day)  # so that nobody's as_of moves
    post(asker(app), *[order(name, i + 1, day) for i, name in enumerate(names)])
    before = app.state.current.fresh.many(names, SCORED_AT)
    fold(own_place / "store", NOW)
    app.state.current.refresh()
    after = app.state.current.fresh.many(names, SCORED_AT)
    for one, other in zip(before, after, strict=True):
        for part in ("evidence", "next_stage", "clv", "value_at_risk", "stage_entered_at", "contactable", "score_id"):
            if part == "clv":  # a tier is among all, and who else has ordered counts only once they are in the store
                one["clv"].pop("value_tier"), other["clv"].pop("value_tier")
            assert one[part] == other[part]
        assert one["churn"]["probability"] == other["churn"]["probability"]


def test_a_fold_killed_before_it_cleans_up_changes_nothing_the_next_time(own_place, started, asker, monkeypatch):
    ask = asker(started(own_place))
    post(ask, order("ann"), order("ann"))
    [segment] = journal.segments(own_place / "store" / "live")
    text = segment.read_bytes()
    fold(own_place / "store", NOW)
    segment.write_bytes(text)  # as if it had not come to remove it
    again = fold(own_place / "store", NOW)
    assert (again.added, again.known) == (0, 2)
    assert not segment.exists()


def test_an_event_that_comes_during_a_fold_stays_for_the_next(own_place, started, asker):
    ask = asker(started(own_place))
    post(ask, order("ann"))
    journal.closed(own_place / "store" / "live")
    post(ask, order("ann", 5), order("ann"))
    assert fold(own_place / "store", NOW).added == 2
    assert orders_of(asker(started(own_place)), "ann") == 2


def test_fold_as_a_command(own_place, started, asker, capsys):
    post(asker(started(own_place)), order("ann"))
    assert main(["fold", "--store", str(own_place / "store")]) == 0
    assert "1 posted events added" in capsys.readouterr().out
