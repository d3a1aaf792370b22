"""Files of order lines: checked, loaded, grown, erased, and those of a real shop."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lines_fixtures import NOW_US, orders, refunds, times_of

from features.__main__ import main
from features.ingest import ingest, load_log
from features.keys import text_keys
from features.lines import examine_lines
from features.mapping import ColumnMapping, LineRule, read_mapping
from features.removal import quarantined, remove_quarantined

ROOT = Path(__file__).parent.parent
RETAIL = ROOT.parent / "shared/data"
SHOP = """
rows = "lines"
[columns]
customer_id = "Customer"
ts = "Date"
order_id = "Invoice"
quantity = "Quantity"
amount = "Quantity * Price"
[lines]
product = "Code"
cancellation_prefix = "C"
"""
JANUARY = "1,ann,2024-01-05,hat,2,10.00\n1,ann,2024-01-05,scarf,1,5.00\n2,bob,2024-01-06,hat,1,10.00\n"
FEBRUARY = "C3,ann,2024-02-05,hat,-1,10.00\n4,bob,2024-02-06,hat,1\n"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.toml").write_text(SHOP)
    (tmp_path / "lines").mkdir()
    for name, rows in (("1", JANUARY), ("2", FEBRUARY)):
        (tmp_path / f"lines/{name}.csv").write_text("Invoice,Customer,Date,Code,Quantity,Price\n" + rows)
    return tmp_path


def test_lines_are_checked_and_loaded_without_code(shop, capsys):
    assert main(["check", "lines", "--mapping", "shop.toml", "--max-bad", "0.3"]) == 0
    said = "5 lines read: 3 in 2 orders, 1 in 1 refunds (100% of their money matched to orders), 1 set aside\n"
    assert capsys.readouterr().out.startswith(said)
    load = ["ingest", "lines", "--mapping", "shop.toml", "--max-bad", "0.3", "--store", "store"]
    assert main(load) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert "3 events added, 0 already known; the store holds 3 events of 2 customers up to 2024-02-05" in printed
    (aside,) = (shop / "store").glob("quarantine-*.csv")
    assert pd.read_csv(aside)[["row", "ragged"]].values.tolist() == [[2, "found 5 fields, expected 6"]]
    assert main(load) == 0
    assert "0 events added, 3 already known" in capsys.readouterr().out


def test_the_bad_lines_of_an_erased_customer_go_whatever_the_file_calls_her(shop):
    bad = "A,7,2024-01-05,x,0,1\nB, 7 ,2024-01-05,x,0,1\nC,8,2024-01-05,7,0,7\n"
    (shop / "bad.csv").write_text("Invoice,Customer,Date,Code,Quantity,Price\n" + bad + JANUARY)
    load = ["ingest", "bad.csv", "--mapping", "shop.toml", "--max-bad", "1", "--store", "store"]
    assert main(load) == 0
    assert quarantined(shop / "store", "7") == 2
    remove_quarantined(shop / "store", "7")
    assert quarantined(shop / "store", "7") == 0
    (aside,) = (shop / "store").glob("quarantine-*.csv")
    assert pd.read_csv(aside)["Invoice"].tolist() == ["C"]


def test_bad_lines_kept_without_a_customer_id_are_hers_if_any_field_is_her_id(tmp_path):
    (tmp_path / "quarantine-1.csv").write_text("Invoice,CustomerID,reason\nA,12346.0,bad\nB, 12346,bad\nC,12347,bad\n")
    assert quarantined(tmp_path, "12346") == 2
    remove_quarantined(tmp_path, "12346")
    assert (tmp_path / "quarantine-1.csv").read_text() == "Invoice,CustomerID,reason\nC,12347,bad\n"


def test_an_option_corrects_the_mapping_of_a_file(shop, capsys):
    assert main(["check", "lines/1.csv", "--mapping", "shop.toml", "--map", "amount=Price"]) == 0
    assert main(["check", "lines/1.csv", "--mapping", "shop.toml", "--map", "ts=When"]) == 2
    assert "no column 'When' in lines/1.csv, which shop.toml or --map names for ts" in capsys.readouterr().err


def amounts_and_links(log):
    """Of each event, customer by customer."""
    whole = log.slice(np.arange(log.n_customers))
    return list(zip(whole.columns["amount"].tolist(), whole.columns["link"].tolist(), strict=True))


def test_a_cancellation_loaded_after_its_order_stays_loose(shop):
    mapping = read_mapping(shop / "shop.toml")
    ingest(shop / "lines/1.csv", shop / "store", NOW_US, mapping, 0.5)
    done = ingest(shop / "lines/2.csv", shop / "store", NOW_US, mapping, 0.5)
    assert amounts_and_links(done.log) == [(2500, 0), (-1000, 0), (1000, 0)]


def test_a_history_that_has_grown_adds_only_what_is_new(shop):
    mapping, store = read_mapping(shop / "shop.toml"), shop / "store"
    history = "Invoice,Customer,Date,Code,Quantity,Price\n" + JANUARY
    cancelled = "C3,ann,2024-02-05,hat,-1,10.00\n"
    later = "C7,ann,2024-03-05,hat,-1,10.00\n5,ann,2024-03-01,hat,1,10.00\n"  # the later order is taken by C7, not C3
    (shop / "february.csv").write_text(history + cancelled)
    (shop / "march.csv").write_text(history + later + cancelled)
    ingest(shop / "february.csv", store, NOW_US, mapping)
    done = ingest(shop / "march.csv", store, NOW_US, mapping)
    assert (done.rows_added, done.rows_known) == (2, 3)
    assert amounts_and_links(done.log) == [(2500, 0), (-1000, 1), (1000, 0), (-1000, 1), (1000, 0)]


def test_lines_that_several_files_have_count_once(shop, capsys):
    (shop / "lines/0.csv").write_text((shop / "lines/1.csv").read_text())
    main(["check", "lines", "--mapping", "shop.toml", "--max-bad", "0.3"])
    assert capsys.readouterr().out.startswith(
        "8 lines read: 3 in 2 orders, 1 in 1 refunds (100% of their money matched to orders), 3 of an earlier file, "
        "1 set aside\n"
    )


# ---------------------------------------------------------------- a real shop


def test_the_readmes_mapping_reads_what_it_says(tmp_path):
    text = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "shop.toml").write_text(text)
    mapping = read_mapping(tmp_path / "shop.toml")
    raw = pd.DataFrame({
        "Invoice": ["1", "1", "C2"], "StockCode": ["hat", "scarf", "hat"], "Quantity": [2, 1, -1],
        "InvoiceDate": pd.to_datetime(["2011-07-01 10:00", "2011-07-01 10:00", "2011-12-01 10:00"]),
        "Price": [10.0, 5.5, 10.0], "CustomerID": [7, 7, 7], "row": [1, 2, 3],
    })  # fmt: skip
    found = examine_lines(raw, mapping, NOW_US)
    assert list(found.rows.currencies) == ["GBP"]
    assert orders(found) == [("7", "1", 2550, 3)]
    assert refunds(found) == [("7", "1", -1000, -1)]
    assert times_of(found) == ["2011-07-01 09:00:00", "2011-12-01 10:00:00"]


@pytest.mark.skipif(not RETAIL.is_dir(), reason="Online Retail II is not beside this repository")
@pytest.mark.parametrize("repeats", ["keep", "set_aside"])
def test_a_real_shops_lines_are_its_orders(repeats):
    mapping = ColumnMapping(
        {"customer_id": "CustomerID", "ts": "InvoiceDate", "order_id": "Invoice", "quantity": "Quantity",
         "amount": "Quantity * Price"},
        lines=LineRule("StockCode", "C", repeats),
    )  # fmt: skip
    log, found = load_log(RETAIL / "online_retail_2_lines.parquet", NOW_US, mapping, max_bad_share=0.3)
    known = pd.read_parquet(RETAIL / "online_retail_2_orders.parquet")
    known["amount_minor"] = (known["amount"] * 100).round().astype("int64")
    known["order_key"] = text_keys(known["order_id"])
    made = found.good[found.good["event"] == "order_completed"].set_index("order_key").sort_index()
    there = known[known["kind"] == "order"].set_index("order_key").sort_index()
    assert found.rows_read == 1_044_848
    assert (log.n_customers, len(made)) == (5_939, 36_969)
    assert made.index.tolist() == there.index.tolist()
    assert made["customer_id"].tolist() == there["customer_id"].tolist()
    refunded = found.good["amount_minor"][found.good["event"] == "order_refunded"].sum()
    if repeats == "set_aside":  # as whoever made the orders did
        assert made["amount_minor"].tolist() == there["amount_minor"].tolist()
        assert refunded == known["amount_minor"][known["kind"] == "return"].sum()
    else:
        assert (made["amount_minor"] >= there["amount_minor"]).all()
        assert (made["amount_minor"].sum(), refunded) == (1_743_155_116, -108_788_214)
