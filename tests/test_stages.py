"""Policies as files; where a handful of customers stands, and who moves when the policy changes."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest

from features.__main__ import main
from features.errors import EventsError, PolicyError
from features.policy_file import policy_text, read_policy
from features.stages import counts, differences, flows, moves, standings

HANDFUL = """
    lea 2024-01-02 page_viewed
    sue 2024-01-03 signed_up
    one 2024-03-25 order_completed 10
    two 2024-02-20 order_completed 10
    two 2024-03-20 order_completed 10
    tri 2024-01-20 order_completed 10
    tri 2024-02-20 order_completed 10
    tri 2024-03-20 order_completed 10
    old 2023-06-01 order_completed 10
    old 2023-07-01 order_completed 10
"""
AS_OF = "2024-03-31"


@pytest.fixture(scope="module")
def handful(log_of):
    return log_of(HANDFUL)


@pytest.fixture
def saved(tmp_path, policy):
    """`saved("old.json", loyal_orders=3)`: the file of the policy with some fields changed."""

    def path(name, **changed):
        (tmp_path / name).write_text(policy_text(replace(policy, **changed)))
        return tmp_path / name

    return path


# ---------------------------------------------------------------- the file


def test_a_policy_survives_its_file(saved, policy):
    again = read_policy(saved("policy.json"))
    assert again == policy
    assert again.version == policy.version == json.loads(policy_text(policy))["version"]


def test_toml_says_the_same_and_7_is_7_0(tmp_path, policy):
    whole = replace(policy, at_risk_max_days=120.0, lapsed_max_days=200.0)
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in asdict(whole).items()))
    assert read_policy(path).version == whole.version
    path.write_text(path.read_text().replace("120.0", "120").replace("200.0", "200"))
    assert read_policy(path).version == whole.version


def test_a_field_with_a_default_may_be_left_out(tmp_path, policy):
    fields = {name: value for name, value in asdict(policy).items() if name not in ("loyal_orders", "goal_event")}
    (tmp_path / "policy.json").write_text(json.dumps(fields))
    assert read_policy(tmp_path / "policy.json") == policy


def test_the_version_is_computed_anew_whatever_the_file_says(tmp_path, policy):
    (tmp_path / "policy.json").write_text(json.dumps({**policy.to_dict(), "loyal_orders": 5}))
    assert read_policy(tmp_path / "policy.json").version == replace(policy, loyal_orders=5).version != policy.version


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"loyal_order": 5}, "found the field 'loyal_order', expected one of horizon_days, "),
        ({"horizon_days": None}, "found horizon_days None, expected a whole number"),
        ({"horizon_days": 0}, "found horizon_days 0, expected at least 1"),
        ({"horizon_days": 30.5}, "found horizon_days 30.5, expected a whole number"),
        ({"horizon_days": True}, "found horizon_days True, expected a whole number"),
        ({"log_gap_within": 0}, "found log_gap_within 0.0, expected at least 1e-09"),
        ({"log_gap_mean": "3"}, "found log_gap_mean '3', expected a number"),
        ({"log_gap_mean": float("nan")}, "found log_gap_mean nan, expected a number"),
        ({"goal_event": 1}, "found goal_event 1, expected a name in quotes"),
        ({"at_risk_z": 2}, "found at_risk_z 2 above lapsed_z 1.64"),
        ({"at_risk_max_days": 201}, "found at_risk_max_days 201 above lapsed_max_days 200"),
    ],
)
def test_a_field_that_cannot_be_is_named(tmp_path, policy, changed, said):
    (tmp_path / "policy.json").write_text(json.dumps({**asdict(policy), **changed}))
    with pytest.raises(PolicyError) as refused:
        read_policy(tmp_path / "policy.json")
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "policy.json"))


def test_a_missing_field_is_named(tmp_path, policy):
    fields = {name: value for name, value in asdict(policy).items() if name != "lapsed_z"}
    (tmp_path / "policy.json").write_text(json.dumps(fields))
    with pytest.raises(PolicyError, match=r"found no field 'lapsed_z'.*python -m features policy"):
        read_policy(tmp_path / "policy.json")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("policy.json", "{", "is neither JSON nor, named .toml, TOML"),
        ("policy.toml", "a =", "is neither JSON nor, named .toml, TOML"),
        ("policy.json", b"\xff\xfe", "is neither JSON nor, named .toml, TOML"),
        ("policy.json", "[1]", "found list, expected the fields of a policy by name"),
        ("policy.json", None, "cannot be read"),
    ],
)
def test_what_is_no_policy_is_refused_in_words(tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError, match=said):
        read_policy(tmp_path / name)


# ---------------------------------------------------------------- where they stand, and who moves


def who_moves(log, old, new):
    return moves(standings(log, AS_OF, old), standings(log, AS_OF, new))


def test_everybody_stands_somewhere(handful, policy):
    found = standings(handful, AS_OF, policy).set_index("customer_id")
    assert found[["lifecycle_stage", "activity_status"]].agg(" ".join, axis=1).to_dict() == {
        "lea": "reach none", "sue": "acquisition none", "one": "conversion active", "two": "retention active",
        "tri": "retention active", "old": "retention lapsed",
    }  # fmt: skip
    table = counts(found)
    assert table.to_numpy().sum() == 6
    assert table.loc["retention"].to_dict() == {"none": 0, "active": 2, "at_risk": 0, "lapsed": 1, "reactivated": 0}


def test_under_the_same_policy_nobody_moves(handful, policy):
    assert who_moves(handful, policy, policy).empty
    assert flows(who_moves(handful, policy, policy)).empty


def test_fewer_loyal_orders_make_three_orders_loyal(handful, policy):
    moved = who_moves(handful, policy, replace(policy, loyal_orders=3))
    assert moved["customer_id"].tolist() == ["tri"]
    assert moved[["old_lifecycle_stage", "new_lifecycle_stage", "old_orders"]].values.tolist() == [
        ["retention", "loyalty", 3],
    ]  # fmt: skip
    assert flows(moved).values.tolist() == [["retention active", "loyalty active", 1]]


def test_the_evidence_stands_beside_each_move(handful, policy):
    patient = replace(policy, lapsed_max_days=400.0, lapsed_z=4.0)
    (old,) = who_moves(handful, policy, patient).to_dict("records")
    assert (old["customer_id"], old["old_activity_status"], old["new_activity_status"]) == ("old", "lapsed", "at_risk")
    assert old["old_silence_days"] == old["new_silence_days"] == 274
    assert old["old_lapsed_after_days"] < 274 < old["new_lapsed_after_days"]


def test_the_most_frequent_move_comes_first(handful, policy):
    moved = who_moves(handful, policy, replace(policy, goal_event="booking_completed"))
    assert flows(moved).values.tolist() == [
        ["retention active", "reach none", 2],
        ["conversion active", "reach none", 1],
        ["retention lapsed", "reach none", 1],
    ]


def test_a_goal_event_that_the_log_does_not_have_is_refused(handful, policy):
    with pytest.raises(EventsError, match="goal_event 'renewal'"):
        who_moves(handful, policy, replace(policy, goal_event="renewal"))


def test_two_policies_differ_by_fields(policy):
    assert differences(policy, replace(policy, loyal_orders=3)) == {"loyal_orders": (4, 3)}


# ---------------------------------------------------------------- the commands


@pytest.fixture
def store(tmp_path, monkeypatch, raw_events):
    monkeypatch.chdir(tmp_path)
    raw_events(HANDFUL).drop(columns="row").to_csv("events.csv", index=False)
    assert main(["ingest", "events.csv", "--store", "shop"]) == 0
    return tmp_path


def test_stages_prints_who_stands_where(store, saved, policy, capsys):
    capsys.readouterr()
    saved("policy.json")
    assert main(["stages", "--store", "shop", "--as-of", AS_OF, "--policy", "policy.json"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"6 customers as of 2024-03-31, by policy {policy.version}"
    assert lines[0].split() == ["activity_status", "none", "active", "at_risk", "lapsed", "reactivated", "total"]
    assert [line.split() for line in lines[2:]] == [
        ["reach", "1", "0", "0", "0", "0", "1"],
        ["acquisition", "1", "0", "0", "0", "0", "1"],
        ["conversion", "0", "1", "0", "0", "0", "1"],
        ["retention", "0", "2", "0", "1", "0", "3"],
        ["loyalty", "0", "0", "0", "0", "0", "0"],
    ]


def test_stages_diff_prints_the_moves_and_lists_the_movers(store, saved, capsys):
    old, new = saved("old.json"), saved("new.json", loyal_orders=3)
    capsys.readouterr()
    assert main(["stages", "--store", "shop", "--as-of", AS_OF, "--diff", str(old), str(new), "--out", "m.csv"]) == 0
    printed = capsys.readouterr().out.splitlines()
    versions = [read_policy(path).version for path in (old, new)]
    assert printed[0] == "loyal_orders: 4 → 3"
    assert printed[1] == f"as of 2024-03-31, from policy {versions[0]} to {versions[1]}: 1 of 6 customers move"
    assert [line.split() for line in printed[2:4]] == [
        ["from", "to", "customers"], ["retention", "active", "loyalty", "active", "1"],
    ]  # fmt: skip
    assert printed[-1] == "1 customers written to m.csv"
    assert pd.read_csv("m.csv")[["customer_id", "new_lifecycle_stage"]].values.tolist() == [["tri", "loyalty"]]


def test_stages_diff_of_the_same_policy_says_that_nobody_moves(store, saved, capsys):
    saved("policy.json")
    capsys.readouterr()
    assert main(["stages", "--store", "shop", "--diff", "policy.json", "policy.json", "--out", "m.csv"]) == 0
    printed = capsys.readouterr().out
    assert "nobody moves" in printed
    assert pd.read_csv("m.csv").empty


def test_the_printed_policy_is_the_one_that_builds_the_same_table(store, capsys):
    capsys.readouterr()
    assert main(["policy", "--store", "shop", "--horizon-days", "45"]) == 0
    (store / "policy.json").write_text(capsys.readouterr().out)
    assert main(["build", "--store", "shop", "--policy", "policy.json", "--out", "file.parquet"]) == 0
    assert main(["build", "--store", "shop", "--horizon-days", "45", "--out", "shop.parquet"]) == 0
    assert "horizon 45 days" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_parquet("file.parquet"), pd.read_parquet("shop.parquet"))
    assert main(["sql", "--store", "shop", "--policy", "policy.json"]) == 0
    assert f"policy {read_policy('policy.json').version}" in capsys.readouterr().out
