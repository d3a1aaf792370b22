"""The three models on a simulated shop: laws before and after training, a floor under them, and their folder."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from features.events import DAY_US
from features.lifecycle import Stage
from features.table import build
from models.bundle import check_shop, load, load_champions, save
from models.errors import ModelError
from models.transition import NAMES, POSSIBLE, STATES, markov_matrix
from training.dataset import outcome
from training.evaluate import churn_measures, log_losses, normalised_gini
from training.registry import write_model

MODEL_NAMES = ("churn", "transition", "clv")
each_model = pytest.mark.parametrize("name", MODEL_NAMES)


@pytest.fixture(scope="module")
def today(fit):
    """Everybody known on 2025-03-01, leads included."""
    return fit.dataset.today


@pytest.fixture(scope="module")
def truth(fit, shop_log):
    """What the 60 days after it brought, which no model has seen."""
    return outcome(shop_log, fit.dataset.today, fit.dataset.expecter, fit.dataset.policy)


def answers(model, table):
    """All of a model's answers as one array with a row a customer."""
    said = model.predict(table)
    return np.column_stack([said.order_days, said.spend, said.low, said.high] if model.name == "clv" else [said])


# ---------------------------------------------------------------- laws


def test_churn_is_a_probability_and_null_for_who_never_bought(made, today):
    churn, bought = made["churn"].model.predict(today), today.column("orders") > 0
    assert 0 < bought.sum() < len(bought)
    assert ((churn[bought] > 0) & (churn[bought] < 1)).all()
    assert np.isnan(churn[~bought]).all()


def test_value_lies_within_its_interval_and_is_null_for_who_never_bought(made, today):
    value, bought = made["clv"].model.predict(today), today.column("orders") > 0
    assert (value.low <= value.spend)[bought].all()
    assert (value.spend <= value.high)[bought].all()
    assert (value.low[bought] >= 0).all()
    assert ((value.order_days > 0) & (value.order_days <= 60))[bought].all()
    assert np.isnan([value.spend[~bought], value.order_days[~bought], value.low[~bought], value.high[~bought]]).all()


def test_states_are_probabilities_that_sum_to_one_for_everybody_leads_included(made, today):
    states = made["transition"].model.predict(today)
    assert states.shape == (len(today), len(STATES))
    assert {Stage.reach, Stage.acquisition} < set(today.column("lifecycle_stage"))
    assert (states >= 0).all()
    assert states.sum(axis=1) == pytest.approx(1)


def test_the_matrix_sums_to_one_from_every_state_and_without_any_example_everybody_stays():
    nobody = np.empty(0, np.int64)
    for matrix in (markov_matrix(nobody, nobody, np.empty(0)), markov_matrix(np.array([1]), np.array([2]), np.ones(1))):
        assert matrix.sum(axis=1) == pytest.approx(1)
        assert (matrix > 0).all()
    assert markov_matrix(nobody, nobody, np.empty(0)).diagonal().min() > 0.9


def test_hardly_anybody_is_expected_where_only_a_refund_leads():
    conversion, retention = NAMES.index("conversion_lapsed"), NAMES.index("retention_active")
    matrix = markov_matrix(np.full(30, conversion), np.full(30, retention), np.ones(30))  # thirty came back, kept it
    assert matrix[~POSSIBLE & ~np.eye(len(STATES), dtype=bool)].max() < 1e-5
    assert matrix[conversion, retention] > 0.5
    assert not POSSIBLE[retention, conversion]
    assert POSSIBLE[NAMES.index("loyalty_active"), NAMES.index("retention_lapsed")]  # loyalty cools by itself
    assert not POSSIBLE[:, NAMES.index("conversion_reactivated")].any()  # one order has no gap before it
    refunded = markov_matrix(np.array([retention] * 9 + [0]), np.array([conversion] * 9 + [0]), np.ones(10))
    assert refunded[retention, conversion] > 0.2  # what was seen counts, possible or not


def test_a_season_with_more_orders_has_more_first_purchases_and_the_matrix_knows_none(made, today):
    buyer, lead = np.array([stage >= Stage.conversion for stage, _ in STATES]), today.column("orders") == 0
    model = replace(made["transition"].model, season=0.0)
    even, high = (one.predict(today)[lead][:, buyer].sum() for one in (model, replace(model, season=np.log(1.5))))
    assert even * 1.3 < high < even * 1.5
    matrix = [replace(model, season=season, weight=0.0).predict(today) for season in (0.0, 0.5)]
    assert np.array_equal(*matrix)


def test_the_models_agree_about_who_comes_at_all(made, today):
    bought = today.column("orders") > 0
    churn = made["churn"].model.predict(today)[bought]
    days = made["clv"].model.predict(today).order_days[bought]
    assert ((1 - churn) > days + 0.05).mean() < 0.02  # separate models; callers take the larger (training.run.predict)
    assert np.corrcoef(1 - churn, days)[0, 1] > 0.7


def test_leads_can_become_buyers_and_buyers_seldom_leads(made, today):
    states, stage = made["transition"].model.predict(today), today.column("lifecycle_stage")
    buyer = np.array([stage >= Stage.conversion for stage, _ in STATES])
    first_purchase = states[stage == Stage.acquisition][:, buyer].sum(axis=1)
    assert ((first_purchase > 0) & (first_purchase < 1)).all()
    assert states[stage >= Stage.conversion][:, ~buyer].sum(axis=1).max() < 0.2


def test_a_longer_silence_means_more_churn_on_average(made, fit, shop_log):
    later = [fit.dataset.plan.as_of + days * DAY_US for days in (0, 30, 90)]
    silent = shop_log.until(fit.dataset.plan.as_of)  # the shop as it was, looked at 30 and 90 silent days later
    churn = [np.nanmean(made["churn"].model.predict(build(silent, [t], fit.dataset.policy))) for t in later]
    assert churn[0] < churn[1] < churn[2]


def test_one_customer_gets_the_answer_of_the_batch(made, today):
    for name in MODEL_NAMES:
        batch = answers(made[name].model, today)
        for i in (0, 7, 400):
            assert np.array_equal(answers(made[name].model, today.rows(np.array([i])))[0], batch[i], equal_nan=True)


@each_model
def test_an_empty_table_gets_an_empty_answer(made, today, name):
    assert len(answers(made[name].model, today.rows(np.zeros(len(today), bool)))) == 0


@each_model
def test_a_card_says_what_the_model_is(made, name):
    card = made[name].model.card
    assert (card.model, card.horizon_days, card.as_of, card.basis) == (name, 60, "2025-03-01", "ml")
    latest = {"churn": "2025-01-30", "clv": "2025-01-30", "transition": "2024-12-31"}  # shorter windows reach nearer
    assert card.trained["cutoffs"] == sorted(set(card.trained["cutoffs"]))
    assert card.trained["cutoffs"][-1] == latest[name]


# ---------------------------------------------------------------- the floor


def test_churn_beats_every_other_rung_on_held_out_time(tested):
    ladder = {row["rung"]: row for row in tested.ladder()}
    ours = ladder.pop("ritorno")
    assert ours["auc"] > max(row["auc"] for row in ladder.values())
    assert ours["log_loss"] < min(row["log_loss"] for row in ladder.values())


def test_churn_and_value_hold_on_days_nobody_has_seen(made, fit, today, truth):
    bought = today.column("orders") > 0
    churned = (truth.order_days[bought] == 0).astype(float)
    ours = churn_measures(churned, made["churn"].model.predict(today)[bought])
    expected = fit.dataset.expecter.expect(today, 60)
    theirs = churn_measures(churned, 1 - expected.purchase_probability[bought])
    assert ours["auc"] > theirs["auc"] - 0.01
    assert ours["log_loss"] < theirs["log_loss"] + 0.01
    assert ours["log_loss"] < log_losses(churned, np.full(len(churned), churned.mean())).mean() - 0.05
    spend = truth.spend[bought]
    assert normalised_gini(spend, made["clv"].model.predict(today).spend[bought]) > 0.6


def test_the_interval_of_value_holds_on_days_nobody_has_seen(made, today, truth):
    bought = today.column("orders") > 0
    value = made["clv"].model.predict(today)
    inside = ((value.low <= truth.spend) & (truth.spend <= value.high))[bought].mean()
    assert 0.72 < inside < 0.95


def test_the_transition_model_beats_its_own_matrix(tested):
    better, matrix = (np.concatenate([fold.transition[w] for fold in tested.folds]).mean() for w in (1.0, 0.0))
    assert better < matrix - 0.05


# ---------------------------------------------------------------- the folder


@pytest.fixture(scope="module")
def folders(made, tmp_path_factory):
    """The three models' folders, as they are published."""
    root = tmp_path_factory.mktemp("bundle")
    for name in MODEL_NAMES:
        write_model(made[name], root / name)
    (root / "manifest.json").write_text(json.dumps({"models": {name: {"version": "1"} for name in MODEL_NAMES}}))
    return root


@pytest.fixture
def copied(folders, tmp_path):
    """`copied("churn")`: a folder that a test may damage."""
    return lambda name: shutil.copytree(folders / name, tmp_path / name)


def altered_array(path, name, change):
    with np.load(path, allow_pickle=False) as arrays:
        kept = {key: arrays[key].copy() for key in arrays}
    kept[name] = change(kept[name])
    np.savez(path, **kept)


def altered_json(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@each_model
def test_a_loaded_model_answers_to_the_bit_as_the_fitted_one(made, folders, today, name):
    loaded = load(folders / name)
    assert np.array_equal(answers(loaded, today), answers(made[name].model, today), equal_nan=True)
    assert loaded.card == made[name].model.card


def test_three_folders_and_a_manifest_are_champions(folders, made):
    champions = load_champions(folders)
    assert champions.versions["clv"] == {"version": "1"}
    assert champions.policy == made["churn"].model.card.policy
    assert champions.features == made["churn"].model.card.features


def test_a_missing_manifest_is_named(folders, tmp_path):
    with pytest.raises(ModelError, match="manifest"):
        load_champions(tmp_path)


@each_model
@pytest.mark.parametrize("file", ["card.json", "model.json", "check.npz", "forest"])
def test_a_missing_file_is_refused(copied, name, file):
    folder = copied(name)
    next(folder.glob(f"{file}*")).unlink()
    with pytest.raises(ModelError, match=r"cannot be read|holds no readable"):
        load(folder)


@each_model
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
@pytest.mark.parametrize("file", ["card.json", "model.json", "check.npz", "forest"])
def test_a_file_cut_short_is_refused(copied, name, file, keep):
    path = next(copied(name).glob(f"{file}*"))
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ModelError):
        load(path.parent)


def test_a_flipped_byte_in_the_trees_is_refused(copied):
    path = next(copied("churn").glob("forest*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ModelError):
        load(path.parent)


def test_trees_that_answer_otherwise_than_xgboost_are_refused(copied):
    path = next(copied("churn").glob("forest*"))
    altered_array(path, "value", lambda value: value + np.float32(0.01))
    with pytest.raises(ModelError, match=r"away from XGBoost's own"):
        load(path.parent)


def test_features_that_mean_something_else_are_refused(copied):
    folder = copied("churn")
    altered_json(folder / "card.json", fingerprint="0123456789abcdef")
    with pytest.raises(ModelError, match=r"fingerprint 0?.*expected 0123456789abcdef.*Fit it again"):
        load(folder)


def test_features_that_this_version_does_not_have_are_refused(copied, made):
    folder = copied("churn")
    altered_json(folder / "card.json", features=[*made["churn"].model.card.features, "phase_of_the_moon"])
    with pytest.raises(ModelError, match="phase_of_the_moon"):
        load(folder)


def test_a_newer_format_is_refused(copied):
    folder = copied("churn")
    altered_json(folder / "card.json", format=99)
    with pytest.raises(ModelError, match="found format 99, expected 2"):
        load(folder)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '"churn"'])
def test_a_card_that_is_none_is_refused(copied, text):
    folder = copied("churn")
    (folder / "card.json").write_text(text)
    with pytest.raises(ModelError):
        load(folder)


def test_an_unknown_model_is_refused(copied):
    folder = copied("churn")
    altered_json(folder / "card.json", model="horoscope")
    with pytest.raises(ModelError, match="horoscope"):
        load(folder)


def test_nothing_in_the_folder_is_a_pickle(folders):
    for path in folders.rglob("*"):
        assert path.is_dir() or path.suffix in (".json", ".npz", ".ubj"), path
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays)


def test_no_customer_can_be_found_in_the_folder(folders, today):
    ids = [name.encode() for name in today.customer_ids]
    content = b"".join(path.read_bytes() for path in sorted(folders.rglob("*")) if path.is_file())
    assert len(ids[0]) > 4
    assert not any(name in content for name in ids)


def test_a_model_without_trees_needs_no_check(made, tmp_path, today):
    model = made["transition"].model
    save(replace(model, forest=None, weight=0.0), tmp_path)
    assert np.allclose(load(tmp_path).predict(today), model.markov[_state(today)])


def _state(table):
    places = {state: i for i, state in enumerate(STATES)}
    codes = zip(table.column("lifecycle_stage"), table.column("activity_status"), strict=True)
    return [places[int(stage), int(status)] for stage, status in codes]


def test_states_are_named():
    assert len(set(NAMES)) == len(STATES) == 14
    assert NAMES[:3] == ("reach", "acquisition", "conversion_active")
    assert "loyalty_at_risk" in NAMES


def test_a_model_of_another_shop_does_not_answer_for_this_one(made, shop_log):
    card = made["churn"].model.card
    check_shop(replace(card, shop="a", currency="EUR"), replace(shop_log, shop="a", currency="EUR"))
    check_shop(replace(card, shop="", currency=""), replace(shop_log, shop="b", currency="USD"))
    for shop, currency in (("b", "EUR"), ("a", "USD")):
        with pytest.raises(ModelError, match="of another shop"):
            check_shop(replace(card, shop="a", currency="EUR"), replace(shop_log, shop=shop, currency=currency))
    with pytest.raises(ModelError, match=r"\(store a, no currency\), expected this one's \(store b, no currency\)"):
        check_shop(replace(card, shop="a", currency=""), replace(shop_log, shop="b", currency=""))
