"""The event store and loading into it: round trips, the same rows twice, kills, damage, ids."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.doctor import examine
from features.errors import EventsError, StoreError
from features.events import MOST_OWN_NAMES
from features.ids import CustomerIds
from features.ingest import ingest, load_log, to_log
from features.log import merge
from features.store import open_store, write_store, writing
from features.table import build, instant

NOW_US = instant("2024-12-31")
ROOT = Path(__file__).parent.parent

HEADER = "customer_id,ts,event,amount,order_id,channel,category\n"
JANUARY = HEADER + "ann,2024-01-05,order_completed,20.00,A,kiosk,shoes\nbob,2024-01-06,page_viewed,,,seo,\n"
FEBRUARY = HEADER + "ann,2024-02-05,order_refunded,20.00,A,airport,\ncleo,2024-02-06,lesson_taken,5.00,,kiosk,hats\n"
BOTH = list(csv.DictReader(StringIO(JANUARY + FEBRUARY.removeprefix(HEADER))))
BOTH = [{name: value or None for name, value in row.items()} for row in BOTH]


@pytest.fixture
def load(tmp_path):
    """`load(csv_text)`: write it to a file and load it into the store at tmp_path / "store"."""
    number = iter(range(99))

    def load_text(text, **more):
        path = tmp_path / f"events_{next(number)}.csv"
        path.write_text(text)
        return ingest(path, tmp_path / "store", NOW_US, **more)

    return load_text


def log_from(rows):
    return to_log(examine(pd.DataFrame(rows), NOW_US).rows)


def rows_of(log):
    """The log's rows as names, so that logs with other codes can be compared."""
    channels = dict(enumerate(log.channels, start=64))
    events = dict(enumerate(log.events, start=64))
    customers = np.repeat(np.array(log.ids[:], object), log.sizes)
    columns = [log.column(name).tolist() for name in ("ts", "event", "channel", "amount", "category", "link")]
    return [
        (customer, ts // 86_400_000_000, events.get(event, event), channels.get(channel, channel), amount,
         None if category < 0 else log.categories[category], link)
        for customer, ts, event, channel, amount, category, link in zip(customers, *columns, strict=True)
    ]  # fmt: skip


def same(one, other):
    assert one.ids[:] == other.ids[:]
    assert rows_of(one) == rows_of(other)
    return True


# ---------------------------------------------------------------- what a load does


def test_what_is_loaded_is_what_is_opened(load, tmp_path):
    done = load(JANUARY)
    assert (done.rows_added, done.rows_known, done.quarantine) == (2, 0, None)
    opened = open_store(tmp_path / "store")
    assert same(done.log, opened)
    assert (opened.n_events, opened.n_customers, str(opened.data_through)) == (2, 2, "2024-01-06")
    assert opened.first_ts == instant("2024-01-04") + 1


def test_loading_the_same_file_again_changes_nothing(load, tmp_path):
    load(JANUARY)
    before = (tmp_path / "store/CURRENT").read_text()
    done = load(JANUARY)
    assert (done.rows_added, done.rows_known) == (0, 2)
    assert (tmp_path / "store/CURRENT").read_text() == before


def test_loading_by_month_is_loading_at_once(load):
    load(JANUARY)
    by_month = load(FEBRUARY).log
    assert same(by_month, log_from(BOTH))


def test_loading_the_later_month_first_is_the_same_log(load):
    load(FEBRUARY)
    assert same(load(JANUARY).log, log_from(BOTH))


def test_files_that_overlap_add_only_what_is_new(load):
    load(JANUARY)
    done = load(JANUARY + "bob,2024-01-07,order_completed,5.00,B,web,\n")
    assert (done.rows_added, done.rows_known) == (1, 2)


def test_two_alike_orders_in_a_file_are_two_orders(load):
    order = "ann,2024-01-05,order_completed,20.00,,web,\n"
    assert load(HEADER + order + order).rows_added == 2
    assert load(HEADER + order + order).rows_added == 0
    assert load(HEADER + order).rows_added == 0
    assert load(HEADER + order * 3).rows_added == 1


def test_a_message_id_counts_once_in_a_file_and_across_files(load):
    header = "customer_id,ts,amount,message_id\n"
    assert load(header + "ann,2024-01-05,1.00,m1\nann,2024-01-05,1.00,m1\nann,2024-01-05,1.00,m2\n").rows_added == 2
    done = load(header + "ann,2024-01-09,7.00,m2\nzoe,2024-01-05,1.00,m3\nzoe,2024-01-05,1.00,m3\n")
    assert done.rows_added == 1
    assert done.log.ids[:] == ["ann", "zoe"]
    assert done.log.column("amount").tolist() == [100, 100, 100]


def test_a_row_without_a_message_id_is_known_by_its_content(load):
    text = "customer_id,ts,amount,message_id\nann,2024-01-05,1.00,\nann,2024-01-06,1.00,m1\n"
    assert load(text).rows_added == 2
    assert load(text).rows_added == 0


def test_a_refund_in_a_later_file_undoes_its_order(load, policy):
    load(JANUARY)
    log = load(FEBRUARY).log
    before, after = build(log, ["2024-02-04", "2024-02-05"], policy, ["orders"]).values[:2, 0]
    assert (before, after) == (1, 0)


def test_the_shops_own_names_keep_their_codes_when_more_come(load):
    january = load(JANUARY).log
    both = load(FEBRUARY).log
    assert (january.channels, both.channels) == (("kiosk",), ("kiosk", "airport"))
    assert (both.events, both.categories) == (("lesson_taken",), ("shoes", "hats"))


def test_too_many_own_names_over_several_files_are_refused(load, tmp_path):
    load(HEADER + "".join(f"ann,2024-01-05,own_{n},1,,,\n" for n in range(MOST_OWN_NAMES)))
    with pytest.raises(StoreError, match="found 193 events of your own in the store and the new file together"):
        load(HEADER + "ann,2024-01-05,one_more,1,,,\n")
    assert open_store(tmp_path / "store").n_events == MOST_OWN_NAMES


def test_another_currency_is_refused_and_the_store_is_as_it_was(load, tmp_path):
    load("customer_id,ts,amount,currency\nann,2024-01-05,1.00,EUR\n")
    with pytest.raises(StoreError, match="found USD events, expected EUR"):
        load("customer_id,ts,amount,currency\nann,2024-01-06,1.00,USD\n")
    assert open_store(tmp_path / "store").n_events == 1


def test_a_refused_file_leaves_the_store_as_it_was_and_its_bad_rows_to_look_at(load, tmp_path):
    load(JANUARY)
    with pytest.raises(EventsError, match="too_many_bad_rows"):
        load(HEADER + "ann,soon,order_completed,1,,,\n")
    assert open_store(tmp_path / "store").n_events == 2
    assert pd.read_csv(tmp_path / "store/quarantine-2024-12-31T235959.csv")["ts"].tolist() == ["soon"]


def test_bad_rows_are_kept_with_their_reason(load):
    done = load(JANUARY + "ann,soon,order_completed,1,,,\n", max_bad_share=0.5)
    assert (done.rows_added, done.rows_known) == (2, 0)
    kept = pd.read_csv(done.quarantine)
    assert kept[["row", "ts", "reason"]].values.tolist() == [
        [3, "soon", "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"],
    ]  # fmt: skip


# ---------------------------------------------------------------- merging, in memory


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_a_log_loaded_in_any_parts_is_the_same_log(data):
    events = ["order_completed", "order_refunded", "page_viewed", "own_one", "own_two"]
    rows = [
        {
            "customer_id": data.draw(st.sampled_from(["a", "b", "ab"])),
            "ts": f"2024-01-{data.draw(st.integers(1, 28)):02}",
            "event": data.draw(st.sampled_from(events)),
            "amount": "1", "message_id": str(number),
            "order_id": data.draw(st.sampled_from(["A", "B", None])),
            "channel": data.draw(st.sampled_from(["kiosk", "airport", "web", None])),
            "category": data.draw(st.sampled_from(["hats", "shoes", None])),
        }
        for number in range(data.draw(st.integers(2, 12)))
    ]  # fmt: skip
    cut = data.draw(st.integers(1, len(rows) - 1))
    whole, one, other = (log_from(part) for part in (rows, rows[:cut], rows[cut:]))
    assert same(merge(one, other), whole)
    assert same(merge(other, one), whole)
    assert same(merge(whole, one), whole)


def test_merging_a_part_of_a_shop_keeps_the_shops_first_event(log_of):
    shop = log_of("ann 2024-01-05 page_viewed\n bob 2024-02-05 page_viewed")
    bob = shop.slice(np.array([1]))
    assert merge(bob, log_of("bob 2024-02-06 page_viewed")).first_ts == shop.first_ts


# ---------------------------------------------------------------- ids


def test_customers_are_found_by_their_id(load, tmp_path):
    names = ["1", "10", "2", "Zoë", "a", "ann", "ann ", "anna", "🙂", "🙂🙂", "ñ"]
    load(HEADER + "".join(f"{name},2024-01-05,page_viewed,,,,\n" for name in names))
    ids = open_store(tmp_path / "store").ids
    assert sorted(ids) == sorted(names)
    assert [ids[ids.find(name)] for name in names] == names
    assert [ids.find(name) for name in ("", "an", "annab", "0", "\U0010ffff", "🙃", "\ud800")] == [None] * 7


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names=st.sets(st.text(st.characters(codec="utf-8"), min_size=1)), absent=st.text())
def test_any_text_is_found_if_it_is_there(names, absent):
    ids = CustomerIds.of(sorted(names, key=str.encode))
    assert all(ids[ids.find(name)] == name for name in names)
    assert (ids.find(absent) is not None) == (absent in names)


def test_ids_can_be_sliced_and_counted():
    ids = CustomerIds.of(["a", "b", "c"])
    assert (len(ids), ids[1:], list(ids)) == (3, ["b", "c"], ["a", "b", "c"])
    with pytest.raises(IndexError):
        ids[3]


# ---------------------------------------------------------------- kills, damage, company


def test_an_empty_log_can_be_stored(log_of, policy, tmp_path):
    empty = log_of("ann 2024-01-05 page_viewed").slice(np.array([], np.int64))
    write_store(empty, tmp_path)
    opened = open_store(tmp_path)
    assert (opened.n_events, opened.n_customers, opened.ids.find("ann")) == (0, 0, None)
    assert len(build(opened, ["2024-01-31"], policy)) == 0


def test_a_load_killed_before_the_flip_leaves_the_old_log(load, tmp_path):
    load(JANUARY)
    (tmp_path / "february.csv").write_text(FEBRUARY)
    killed = """
import os, signal, sys
import features.store, features.ingest
features.durable.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
features.ingest.ingest(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""
    arguments = [sys.executable, "-c", killed, tmp_path / "february.csv", tmp_path / "store", str(NOW_US)]
    assert subprocess.run(arguments, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "store/generation-000002").is_dir()  # written, never named
    assert open_store(tmp_path / "store").n_events == 2
    assert load(FEBRUARY).rows_added == 2
    assert open_store(tmp_path / "store").n_events == 4


def test_a_load_killed_while_writing_leaves_the_old_log_and_no_rubbish_for_long(load, tmp_path):
    load(JANUARY)
    half = tmp_path / "store/.building-99999"
    half.mkdir()
    (half / "ts.npy").write_bytes(b"half")
    assert open_store(tmp_path / "store").n_events == 2
    load(FEBRUARY)
    assert not half.exists()


def test_the_generation_before_stays_for_readers_that_are_opening_it(load, tmp_path):
    for day in range(1, 6):
        load(HEADER + f"ann,2024-01-0{day},page_viewed,,,,\n")
    found = sorted(path.name for path in (tmp_path / "store").glob("generation-*"))
    assert found == ["generation-000004", "generation-000005"]


def test_an_unnamed_generation_does_not_push_out_the_one_before(load, tmp_path):
    load(JANUARY)
    shutil.copytree(tmp_path / "store/generation-000001", tmp_path / "store/generation-000002")
    load(FEBRUARY)
    found = sorted(path.name for path in (tmp_path / "store").glob("generation-*"))
    assert found == ["generation-000001", "generation-000003"]


def test_a_second_writer_is_refused_and_the_first_goes_on(load, tmp_path):
    load(JANUARY)
    with writing(tmp_path / "store"), pytest.raises(StoreError, match="is being loaded by another process"):
        load(FEBRUARY)
    assert load(FEBRUARY).rows_added == 2


def test_a_missing_store_says_how_to_load_one(tmp_path):
    with pytest.raises(StoreError, match=r"found nothing at .*python -m features ingest FILE --store"):
        open_store(tmp_path)


@pytest.mark.parametrize(("written", "todo"), [(3, "upgrade"), (1, "Keep the folder. Copy .*erased.json, live")])
def test_another_format_is_refused_and_its_folder_kept(load, tmp_path, written, todo):
    load(JANUARY)
    meta = tmp_path / "store/generation-000001/meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": written}))
    with pytest.raises(StoreError, match=rf"found format {written} .*expected 2.*{todo}") as said:
        open_store(tmp_path / "store")
    assert "emove" not in str(said.value)


@pytest.mark.parametrize(
    "name", ["ts.bin", "starts.npy", "sizes.npy", "customers.blob.npy", "customers.ends.npy", "meta.json"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "rubbish"])
def test_a_damaged_store_is_refused(load, tmp_path, name, damage):
    load(JANUARY)
    path = tmp_path / "store" / ("columns-000001" if name.endswith(".bin") else "generation-000001") / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-3], "rubbish": b"{[]"}[damage])
    with pytest.raises(StoreError, match="Load the events again"):
        open_store(tmp_path / "store")


@pytest.mark.parametrize("array", [np.zeros(1, np.int64), np.zeros(2, np.float64), np.zeros((2, 2), np.int64)])
def test_a_column_that_does_not_fit_the_others_is_refused(load, tmp_path, array):
    load(JANUARY)
    np.save(tmp_path / "store/generation-000001/starts.npy", array)
    with pytest.raises(StoreError, match=r"starts\.npy, expected \(2,\) int64"):
        open_store(tmp_path / "store")


def test_a_pointer_to_nowhere_is_damage(load, tmp_path):
    load(JANUARY)
    (tmp_path / "store/CURRENT").write_text("generation-000009")
    with pytest.raises(StoreError, match="generation-000009 is damaged"):
        open_store(tmp_path / "store")


def test_a_file_where_the_store_should_be_is_refused(load, tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        load(JANUARY)
    with pytest.raises(StoreError, match="found nothing"):
        open_store(tmp_path / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(load, tmp_path):
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"cannot write .*Choose a folder"):
        load(JANUARY)


def test_a_large_store_gives_the_rows_of_the_log_in_memory(tmp_path, policy):
    events = pd.DataFrame({
        "customer_id": [f"c{n % 700}" for n in range(5_000)],
        "ts": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(5_000) * 37 % 9_000, unit="h"),
        "amount": (np.arange(5_000) % 97).astype(float),
    })  # fmt: skip
    events[events["ts"] < "2024-12-31"].to_parquet(tmp_path / "events.parquet")
    log, _ = load_log(tmp_path / "events.parquet", NOW_US)
    write_store(log, tmp_path / "store")  # its columns lie partly in pages, partly in small files
    opened = build(open_store(tmp_path / "store"), ["2024-06-30"], policy)
    assert opened.values.tobytes() == build(log, ["2024-06-30"], policy).values.tobytes()
