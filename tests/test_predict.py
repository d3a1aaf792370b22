"""`python -m training predict`: a file in, a file out, for every shop there can be; no registry, no traceback."""

import numpy as np
import pandas as pd
import pytest

from training.__main__ import main

COLUMNS = ["customer_id", "p_churn", "expected_transactions", "expected_spend"]


def orders(n, seed=0, days=365):
    """A made-up shop of n customers in 2023, some of whom come back."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        day, rate, gone = rng.uniform(0, days / 2), rng.gamma(1.0, 0.02), rng.exponential(days)
        first = day
        while day < min(days, first + gone) or day == first:
            ts = pd.Timestamp("2023-01-01") + pd.Timedelta(days=day)
            rows.append((f"{i:04d}", ts, round(rng.gamma(3, 10), 2)))
            day += rng.exponential(1 / rate)
    return pd.DataFrame(rows, columns=["customer_id", "ts", "amount"])


@pytest.fixture
def predicted(tmp_path):
    """`predicted(frame, as_of, horizon)`: what predict writes for a frame's file."""

    def run(frame, as_of="2023-12-31", horizon_days=60):
        frame.to_csv(tmp_path / "events.csv", index=False)
        out = tmp_path / "out.csv"
        arguments = ["--as-of", as_of, "--horizon-days", str(horizon_days), "--out", str(out)]
        assert main(["predict", "--events", str(tmp_path / "events.csv"), *arguments]) == 0
        said = pd.read_csv(out, dtype={"customer_id": str})
        assert list(said.columns) == COLUMNS
        return said

    return run


def is_sensible(said, horizon_days):
    probability, days, spend = (said[name] for name in COLUMNS[1:])
    assert probability.between(0, 1).all()
    assert (days >= 1 - probability).all()
    assert (days <= horizon_days).all()
    assert (spend >= 0).all()
    assert np.isfinite(spend).all()
    return True


@pytest.fixture(scope="module")
def shop():
    return orders(300)


@pytest.mark.filterwarnings("error::RuntimeWarning")
class TestAnyShopGetsAnAnswer:  # with nothing divided by zero on the way
    @pytest.mark.parametrize("horizon_days", [1, 30, 3650])
    @pytest.mark.parametrize("n", [1, 2, 10, 60])
    def test_however_small(self, predicted, n, horizon_days):
        said = predicted(orders(n), horizon_days=horizon_days)
        assert len(said) == n
        assert is_sensible(said, horizon_days)

    @pytest.mark.parametrize("horizon_days", [1, 60, 3650])
    def test_of_some_size(self, predicted, shop, horizon_days):
        said = predicted(shop, horizon_days=horizon_days)
        assert len(said) == 300
        assert is_sensible(said, horizon_days)

    def test_with_one_order_ever(self, predicted, shop):
        assert is_sensible(predicted(shop.head(1)), 60)

    def test_whose_customers_never_come_back(self, predicted, shop):
        said = predicted(shop.drop_duplicates("customer_id"))
        assert is_sensible(said, 60)
        assert said["p_churn"].min() > 0.9

    @pytest.mark.parametrize("amount", [0.0, 0.01, 10.0, 1e7])
    def test_with_one_price(self, predicted, shop, amount):
        said = predicted(shop.assign(amount=amount))
        assert is_sensible(said, 60)
        seen = said[said["expected_transactions"] > 0.1]
        assert np.allclose(seen["expected_spend"] / seen["expected_transactions"], amount, rtol=0.5)

    @pytest.mark.parametrize("as_of", ["2023-01-01", "2023-01-02", "2023-02-15"])
    def test_with_one_day_of_history(self, predicted, shop, as_of):
        said = predicted(shop.assign(ts="2023-01-01"), as_of=as_of)
        assert len(said) == 300
        assert is_sensible(said, 60)

    def test_that_closed_long_ago(self, predicted, shop):
        said = predicted(shop[shop["ts"] < "2023-07-01"], as_of="2025-12-31")
        assert is_sensible(said, 60)
        assert said["p_churn"].min() > 0.95


def test_whoever_bought_often_and_lately_is_less_at_risk_and_worth_more(predicted, shop):
    often = pd.date_range("2023-03-01", "2023-12-29", freq="7D")
    long_gone = pd.date_range("2023-01-01", "2023-03-01", freq="7D")
    extra = [
        pd.DataFrame({"customer_id": who, "ts": days, "amount": 50.0})
        for who, days in (("often", often), ("gone", long_gone))
    ]
    said = predicted(pd.concat([shop, *extra])).set_index("customer_id")
    assert said.loc["often", "p_churn"] < 0.3 < 0.8 < said.loc["gone", "p_churn"]
    assert said.loc["often", "expected_spend"] > 5 * said.loc["gone", "expected_spend"]


def test_leading_zeros_of_an_id_survive(predicted):
    frame = pd.DataFrame({"customer_id": ["007", "7", "0x7"], "ts": "2023-06-01", "amount": 5.0})
    assert predicted(frame)["customer_id"].tolist() == ["007", "0x7", "7"]


def test_rows_after_as_of_change_nothing(tmp_path, shop):
    known = shop[shop["ts"] < "2023-09-01"]
    newcomers = pd.DataFrame({"customer_id": ["0000a", "zz"], "ts": ["2023-09-01", "2023-12-01"], "amount": 99.0})
    altered = shop[shop["ts"] >= "2023-09-01"].assign(amount=1e6)
    for name, frame in {"known": known, "all": shop, "more": pd.concat([newcomers, altered, known, newcomers])}.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        arguments = ["--as-of", "2023-08-31", "--horizon-days", "45", "--out", str(tmp_path / f"{name}.out")]
        assert main(["predict", "--events", str(tmp_path / f"{name}.csv"), *arguments]) == 0
    expected = (tmp_path / "known.out").read_bytes()
    assert (tmp_path / "all.out").read_bytes() == expected
    assert (tmp_path / "more.out").read_bytes() == expected


def test_a_lead_is_listed_without_numbers(tmp_path):
    text = "customer_id,ts,event,amount\nann,2023-05-01,order_completed,5\nzoe,2023-05-02,signed_up,\n"
    (tmp_path / "events.csv").write_text(text)
    out = str(tmp_path / "out.csv")
    arguments = ["--as-of", "2023-06-01", "--horizon-days", "30", "--out", out]
    assert main(["predict", "--events", str(tmp_path / "events.csv"), *arguments]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[2] == "zoe,,,"


# ---------------------------------------------------------------- what cannot be answered


HEADER = "customer_id,ts,amount\n"
NEXT_YEAR = pd.Timestamp.now().year + 1
LONG_AGO = HEADER + "a,2023-01-01,5\n"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("customer_id,amount\na,5\n", {}, "expected also ts"),
        ("ts,amount\n2023-01-01,5\n", {}, "expected also customer_id"),
        (HEADER + "a,2023-01-01,five\n", {}, "amount"),
        (HEADER + f"a,{NEXT_YEAR}-01-01,5\n", {}, "future"),
        (HEADER, {}, "found no rows"),
        ("", {}, "empty"),
        (None, {}, "events.csv"),
        (LONG_AGO, {"--as-of": "2022-12-31"}, "the log begins on 2023-01-01. Choose a later --as-of"),
        (LONG_AGO, {"--as-of": "soon"}, "--as-of: found 'soon', expected a day"),
        (LONG_AGO, {"--out": "nowhere/out.csv"}, "--out: cannot write nowhere/out.csv"),
        (LONG_AGO, {"--out": "."}, "--out: cannot write"),
        ("customer_id,ts,event\na,2023-01-01,signed_up\n", {}, "found no kept order up to 2023-06-30"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_sentence_with_exit_code_2(tmp_path, monkeypatch, capsys, content, options, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "events.csv").write_text(content)
    given = {"--as-of": "2023-06-30", "--horizon-days": "30", "--out": "out.csv"} | options
    assert main(["predict", "--events", "events.csv", *(word for pair in given.items() for word in pair)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.csv").exists()


def test_an_empty_folder_is_said(tmp_path, capsys):
    arguments = ["--as-of", "2023-06-30", "--horizon-days", "30", "--out", str(tmp_path / "o.csv")]
    assert main(["predict", "--events", str(tmp_path), *arguments]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("horizon", ["0", "3651", "-5", "a month", "1.5"])
def test_an_impossible_horizon_is_wrong_usage(tmp_path, capsys, horizon):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--events", "e.csv", "--as-of", "2023-06-30", "--horizon-days", horizon, "--out", "o.csv"])
    assert stopped.value.code == 2
    assert "--horizon-days" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--customers", "0"], ["--seed", "-1"], ["--customers", "10", "--out", "file/inside"]],
    ids=["nobody", "a seed below zero", "a place that cannot be"],
)
def test_a_shop_that_cannot_be_simulated_is_said(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["simulate", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


COMMANDS = ("fit", "backtest", "predict", "promote", "rollback", "simulate", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.count("--") > 1
