"""`python -m training …` asked what cannot be answered, or only in part: what it says, and that it is no traceback."""

import pandas as pd
import pytest

from features.events import DAY_US
from features.windows import origins
from training.__main__ import main


@pytest.fixture
def orders(tmp_path, monkeypatch):
    """A file of 40 customers' orders, one a fortnight each over a year, and an empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    days = [(f"c{i}", day) for i in range(40) for day in range(i % 14, 365, 14 + i % 5)]
    frame = pd.DataFrame(days, columns=["customer_id", "day"])
    frame["ts"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(frame.pop("day"), unit="D")
    frame.assign(amount=10.0).to_csv("orders.csv", index=False)
    return "orders.csv"


@pytest.fixture
def leads(tmp_path, monkeypatch):
    """A file of people who registered, none of whom ordered."""
    monkeypatch.chdir(tmp_path)
    ts = pd.date_range("2024-01-01", "2024-12-30", periods=50, tz="UTC")
    pd.DataFrame({"customer_id": range(50), "ts": ts, "event": "signed_up"}).to_csv("leads.csv", index=False)
    return "leads.csv"


def said(capsys, *arguments):
    code = main(list(arguments))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_backtest_of_leads_alone_says_that_nobody_ordered_and_not_that_the_log_is_short(leads, capsys):
    code, _, error = said(capsys, "backtest", "--events", leads)
    assert code == 2
    assert error.startswith("events: found no kept order up to 2024-12-30, expected at least one.")


@pytest.mark.parametrize("command", [["backtest"], ["snapshots", "--out", "s.parquet"]])
def test_before_the_first_event_there_is_nothing_to_look_at(orders, capsys, command):
    code, _, error = said(capsys, *command, "--events", orders, "--as-of", "2019-01-01")
    assert code == 2
    assert error.startswith("events: found none up to 2019-01-01, expected at least one: the log begins on 2024-01-01.")


def test_a_log_too_short_for_a_backtest_is_told_with_its_length_and_what_to_do(orders, capsys):
    code, told, _ = said(capsys, "backtest", "--events", orders, "--horizon-days", "3650")
    assert code == 0
    assert "Backtest over a horizon of 3,650 days, on 364 days of log" in told
    assert "No backtest: expected a log of two and a half horizons" in told
    assert "choose a shorter --horizon-days" in told


@pytest.mark.parametrize("command", [["backtest", "--horizon-days", "30"], ["snapshots", "--out", "s.parquet"]])
def test_a_day_long_after_the_last_event_is_warned_of_by_every_command(orders, capsys, command):
    code, told, _ = said(capsys, *command, "--events", orders, "--as-of", "2025-01-30")
    assert code == 0
    assert "warning: found events up to 2024-12-30 only, 31 days before --as-of" in told


def test_snapshots_say_that_their_windows_are_shorter_than_asked(orders, capsys):
    _, told, _ = said(capsys, "snapshots", "--events", orders, "--horizon-days", "300", "--out", "s.parquet")
    assert "found too short a log for windows of 300 days" in told
    assert "they are of 121 days" in told
    assert set(pd.read_parquet("s.parquet").horizon_days) == {121}


def test_a_horizon_of_a_day_has_each_origin_once(orders, capsys):
    _, told, _ = said(capsys, "backtest", "--events", orders, "--horizon-days", "1")
    assert "forecasts made on 2024-12-28, 2024-12-29, each for the 1 day after" in told
    log = type("Log", (), {"first_ts": 0})
    for horizon in range(1, 40):
        found = origins(log, 500 * DAY_US, horizon)
        assert len(set(found)) == len(found) == (2 if horizon == 1 else 3)


def test_a_digit_that_is_no_number_is_told_like_any_other(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--horizon-days", "²"])
    assert "found '²', expected 1 to 3650 days" in capsys.readouterr().err


def test_a_log_level_that_does_not_exist_is_a_sentence(orders, capsys, monkeypatch):
    monkeypatch.setenv("RITORNO_LOG", "loud")
    code, _, error = said(capsys, "backtest", "--events", orders)
    assert code == 2
    assert error.startswith("RITORNO_LOG: found 'LOUD', expected one of ")


def test_a_shop_to_try_whose_events_cannot_be_written_is_a_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").write_text("a file stands where the folder would")
    code, _, error = said(capsys, "backtest", "--events", "simulated")
    assert code == 2
    assert error.startswith("shop: cannot write var/simulated (")


def test_a_store_that_cannot_be_read_is_a_sentence(tmp_path, capsys):
    code, _, error = said(capsys, "backtest", "--store", str(tmp_path / ("x" * 300)))  # longer than a name may be
    assert code == 2
    assert error.startswith("store: cannot read ")
