"""Appending to the store: what is written, what is left alone, and twenty kills at random moments."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.check import check
from features.doctor import examine
from features.ingest import ingest, load_log, to_log
from features.log import DTYPES
from features.store import append_store, open_store, write_store
from features.table import build, instant

NOW_US = instant("2024-12-31")
ROOT = Path(__file__).parent.parent


def sizes_of(store):
    return {path.name: path.stat().st_size for path in sorted(store.glob("columns-*"))[-1].iterdir()}


def test_a_day_is_written_behind_the_rows_that_are_there(log_of, tmp_path):
    write_store(log_of("\n".join(f"c{n} 2024-01-05 page_viewed" for n in range(100))), tmp_path)
    before = (tmp_path / "columns-000001/ts.bin").read_bytes()
    assert append_store(log_of("c7 2024-01-06 order_completed 5\n new 2024-01-06 page_viewed"), tmp_path) == 2
    after = (tmp_path / "columns-000001/ts.bin").read_bytes()
    assert after.startswith(before)
    assert len(after) == len(before) + 8 * 3  # c7's whole run of two, and the new customer's event
    log = open_store(tmp_path)
    assert (log.n_events, log.n_customers, log.is_compact) == (102, 101, False)
    assert log.sizes[log.ids.find("c7")] == 2


def test_a_reader_of_the_old_generation_still_reads_the_old_log(log_of, policy, tmp_path):
    write_store(log_of("\n".join(f"c{n} 2024-01-05 order_completed 5" for n in range(600))), tmp_path)
    old = open_store(tmp_path)
    rows = build(old, ["2024-01-31"], policy).values.tobytes()
    append_store(log_of("\n".join(f"c{n} 2024-01-06 order_completed 5" for n in range(0, 600, 2))), tmp_path)
    assert build(old, ["2024-01-31"], policy).values.tobytes() == rows


def test_the_columns_are_written_afresh_when_more_rows_are_dead_than_alive(log_of, tmp_path):
    write_store(log_of("ann 2024-01-01 page_viewed"), tmp_path)
    for day in range(2, 12):
        append_store(log_of(f"ann 2024-01-{day:02} page_viewed"), tmp_path)
        log = open_store(tmp_path)
        assert log.n_events == day
        assert len(log.columns["ts"]) <= 2 * day
    assert len(list(tmp_path.glob("columns-*"))) <= 2


def test_what_a_killed_load_left_behind_the_rows_is_overwritten(log_of, tmp_path):
    write_store(log_of("ann 2024-01-01 page_viewed\n bob 2024-01-01 page_viewed"), tmp_path)
    for name in DTYPES:
        with open(tmp_path / f"columns-000001/{name}.bin", "ab") as file:
            file.write(b"half a row, or many" * 99)
    assert open_store(tmp_path).n_events == 2
    append_store(log_of("bob 2024-01-02 page_viewed"), tmp_path)
    assert open_store(tmp_path).column("ts").tolist() == [
        instant("2023-12-31") + 1, instant("2023-12-31") + 1, instant("2024-01-01") + 1,
    ]  # fmt: skip


def test_events_outside_the_rows_are_damage(log_of, tmp_path):
    write_store(log_of("ann 2024-01-01 page_viewed\n bob 2024-01-01 page_viewed"), tmp_path)
    np.save(tmp_path / "generation-000001/starts.npy", np.array([0, 9], np.int64))
    with pytest.raises(Exception, match="events outside its 2 rows"):
        open_store(tmp_path)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_store_appended_in_any_parts_is_the_store_built_at_once(data, raw_events, policy, tmp_path_factory):
    lines = [
        f"{data.draw(st.sampled_from('abcd'))} 2024-01-{data.draw(st.integers(1, 28)):02} "
        f"{data.draw(st.sampled_from(['order_completed', 'order_refunded', 'page_viewed', 'lesson']))} 5 "
        f"order_id={data.draw(st.sampled_from(['A', 'B', 'C']))} message_id=m{number}"
        for number in range(data.draw(st.integers(1, 14)))
    ]
    parts = data.draw(st.lists(st.integers(0, 3), min_size=len(lines), max_size=len(lines)))
    root = tmp_path_factory.mktemp("store")

    def log_from(chosen):
        return to_log(examine(raw_events("\n".join(chosen)), NOW_US).rows)

    groups = [[line for line, part in zip(lines, parts, strict=True) if part == group] for group in range(4)]
    filled = [group for group in groups if group]
    write_store(log_from(filled[0]), root)
    added = [append_store(log_from(group), root) for group in filled[1:]]
    assert sum(added) == len(lines) - len(filled[0])
    whole = log_from(lines)
    appended = open_store(root)
    assert appended.ids[:] == whole.ids[:]
    for as_of in ("2024-01-10", "2024-01-31"):
        assert build(appended, [as_of], policy).values.tobytes() == build(whole, [as_of], policy).values.tobytes()
        cut = appended.until(instant(as_of))
        assert build(cut, [as_of], policy).values.tobytes() == build(whole, [as_of], policy).values.tobytes()
    assert appended.fingerprint == whole.fingerprint


def test_files_of_one_folder_that_overlap_count_once(tmp_path):
    january = "ann,2024-01-05,1.00\nann,2024-01-05,1.00\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("customer_id,ts,amount\n" + january)
    (tmp_path / "in/b.csv").write_text("customer_id,ts,amount\n" + january + "ann,2024-02-05,1.00\n")
    done = ingest(tmp_path / "in", tmp_path / "store", NOW_US)
    assert (done.rows_added, done.rows_known) == (3, 2)


def changed(done):
    return {f.found: f.rows for f in done.checkup.findings if f.code == "changed_messages"}


def test_a_message_that_comes_again_with_another_amount_is_counted_and_the_first_one_stays(tmp_path):
    header = "customer_id,ts,event,amount,message_id\n"
    (tmp_path / "a.csv").write_text(
        header + "ann,2024-01-05,order_completed,100,m1\nann,2024-01-06,nap,,m2\nbob,2024-01-06,order_completed,5,m1\n"
    )
    (tmp_path / "b.csv").write_text(
        header + "ann,2024-01-04,dance,,m9\nann,2024-01-05,order_completed,80,m1\nann,2024-01-06,nap,,m2\n"
        "bob,2024-01-07,order_completed,5,m1\n"
    )
    assert changed(ingest(tmp_path / "a.csv", tmp_path / "store", NOW_US)) == {}
    assert changed(ingest(tmp_path / "a.csv", tmp_path / "store", NOW_US)) == {}
    done = ingest(tmp_path / "b.csv", tmp_path / "store", NOW_US)
    assert (done.rows_added, done.rows_known) == (1, 3)
    assert changed(done) == {"2 rows with a message_id that the store has with other content (an amount, a time)": 2}
    assert done.log.column("amount").tolist() == [0, 10000, 0, 500]
    assert changed(check(tmp_path / "b.csv", tmp_path / "store", NOW_US)) == changed(done)


def test_a_message_that_changes_within_a_file_is_counted_and_what_is_left_out_changes_nothing(tmp_path):
    (tmp_path / "a.csv").write_text(
        "customer_id,ts,amount,quantity,message_id\nann,2024-01-05,100,2,m1\nann,2024-01-05,80,2,m1\n"
        "ann,2024-01-05,100,,m1\nann,2024-01-05,100,3,m1\nbob,2024-01-05,80,2,m1\n"
    )
    (wording,) = changed(ingest(tmp_path / "a.csv", tmp_path / "store", NOW_US))
    assert wording.startswith("2 rows with a message_id that an earlier row has")


def test_a_refund_that_was_given_its_orders_instant_has_not_changed(tmp_path):
    order = "ann,2024-01-05T18:00:00,order_completed,20,A,m1\n"
    refund = "ann,2024-01-05,order_refunded,20,A,m2\n"
    for name, rows in (("a", order + refund), ("b", refund)):
        (tmp_path / name).with_suffix(".csv").write_text("customer_id,ts,event,amount,order_id,message_id\n" + rows)
        assert changed(ingest(tmp_path / f"{name}.csv", tmp_path / "store", NOW_US)) == {}


def test_a_refund_dated_by_the_day_undoes_the_order_of_that_day(log_of, seen):
    late = "ann 2024-01-05T18:00:00 order_completed 20 order_id=A\n"
    assert seen(late + "ann 2024-01-05 order_refunded 20 order_id=A", "2024-01-31")["orders"] == 0
    assert seen(late + "ann 2024-01-05T03:00:00 order_refunded 20 order_id=A", "2024-01-31")["orders"] == 1


# ---------------------------------------------------------------- kills


def shop(path, first_day, days, seed):
    """A CSV of 60,000 events."""
    draw = np.random.default_rng(seed)
    n = 60_000
    pd.DataFrame({
        "customer_id": draw.integers(0, 8_000, n),
        "ts": pd.Timestamp(first_day) + pd.to_timedelta(draw.integers(0, days * 86_400, n), unit="s"),
        "event": draw.choice(["order_completed", "page_viewed", "email_opened"], n),
        "amount": draw.integers(1, 90, n).astype(float),
    }).to_parquet(path)  # fmt: skip
    return path


def is_the_same(one, other):
    return one.ids[:] == other.ids[:] and all(np.array_equal(one.column(name), other.column(name)) for name in DTYPES)


KILLED = """
import sys
from features.ingest import ingest
print("ready", flush=True)
ingest(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_store_killed_at_twenty_random_moments_is_old_or_new(tmp_path):
    """A first load is killed ten times, an append ten times: what opens is the log before or after, to the last row."""
    january, february = (
        shop(tmp_path / "1.parquet", "2024-01-01", 31, 1),
        shop(tmp_path / "2.parquet", "2024-02-01", 28, 2),
    )
    old = load_log(january, NOW_US)[0]
    ingest(january, tmp_path / "whole", NOW_US)
    new = ingest(february, tmp_path / "whole", NOW_US).log
    draw = random.Random(7)  # moments, not secrets
    seconds, outcomes = 1.0, []
    for moment in range(20):
        store = tmp_path / ("first" if moment < 10 else "second")
        fresh, before, after = (january, None, old) if moment < 10 else (february, old, new)
        if moment == 10:
            ingest(january, store, NOW_US)
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, fresh, store, str(NOW_US)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        began = time.monotonic()
        try:
            child.wait(draw.uniform(0.0, seconds))
            seconds = 0.9 * (time.monotonic() - began)  # it was through: next time earlier
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            seconds *= 1.15
        if (store / "CURRENT").exists():
            found = open_store(store)
            assert any(log is not None and is_the_same(found, log) for log in (before, after))
            outcomes.append(found.n_events)
            if found.fingerprint == after.fingerprint:
                for path in sorted(store.iterdir()):  # begin again, to be killed again
                    subprocess.run(["rm", "-rf", path], check=True)
                if before is not None:
                    ingest(january, store, NOW_US)
        else:
            assert before is None
            outcomes.append(0)
    assert ingest(february, tmp_path / "second", NOW_US).log.fingerprint == new.fingerprint
    assert ingest(january, tmp_path / "first", NOW_US).log.fingerprint == old.fingerprint
    assert len(outcomes) == 20
