"""The catalogue as a whole: names, texts, fingerprints, and when a feature is null."""

import dataclasses
import math
import re

import pytest

from features.algebra import ORDERS, count
from features.catalogue import CATALOGUE, engagement, fingerprint, lifecycle, orders, pick, rhythm, season, value
from features.errors import UnknownName

FEATURES = list(CATALOGUE.values())


# ---------------------------------------------------------------- the registry


def test_no_two_features_share_a_name():
    declared = [feature.name for feature in pick()]
    assert len(declared) == len(set(declared)) == len(CATALOGUE)


@pytest.mark.parametrize("feature", FEATURES, ids=list(CATALOGUE))
def test_a_feature_says_its_name_unit_text_range_and_null(feature):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", feature.name)
    assert feature.unit
    assert feature.text.endswith(".")
    assert feature.null
    assert feature.low is None or feature.high is None or feature.low < feature.high


def test_no_two_subjects_declare_the_same_feature():
    subjects = (engagement, lifecycle, orders, rhythm, season, value)
    assert sum(len(subject.FEATURES) for subject in subjects) == len(CATALOGUE)


def test_features_come_in_the_order_asked_for():
    assert [feature.name for feature in pick(["spend", "orders"])] == ["spend", "orders"]


def test_an_unknown_feature_is_named_in_the_error():
    with pytest.raises(UnknownName, match=r"found 'spent'.*features list"):
        pick(["spent"])


def test_the_fingerprint_changes_with_a_name_a_declaration_and_the_order():
    one, other = pick(["orders", "spend"])
    renamed = dataclasses.replace(one, name="purchases")
    redeclared = dataclasses.replace(one, expression=count(ORDERS, days=30))
    prints = {fingerprint(pair) for pair in ([one, other], [other, one], [renamed, other], [redeclared, other])}
    assert len(prints) == 4


def test_the_fingerprint_does_not_change_with_the_description():
    (feature,) = pick(["orders"])
    assert fingerprint([feature]) == fingerprint([dataclasses.replace(feature, text="Otherwise.")])


# ---------------------------------------------------------------- nulls


VISITOR = "vic 2024-03-01T10:00 page_viewed"
NULL_FOR_A_VISITOR = {name for name, feature in CATALOGUE.items() if feature.null != "never"}


def test_whoever_has_done_nothing_has_a_null_in_every_nullable_feature(seen):
    row = seen(VISITOR, "2024-03-05")
    assert {name for name, value in row.items() if math.isnan(value)} == NULL_FOR_A_VISITOR


@pytest.mark.parametrize(
    ("null", "one_event_less"),
    [
        ("no kept order", "ann 2024-03-01 signed_up"),
        ("fewer than 2 order days", "ann 2024-03-01T08:00 order_completed 1\n ann 2024-03-01T09:00 order_completed 1"),
        ("fewer than 3 order days", "ann 2024-03-01 order_completed 1\n ann 2024-03-02 order_completed 1"),
        ("no kept order with a quantity", "ann 2024-03-01 order_completed 1"),
        ("no kept order with a channel", "ann 2024-03-01 order_completed 1"),
        ("no event with a channel", "ann 2024-03-01 order_completed 1"),
        ("no e-mail sent in the window", "ann 2023-12-01 email_sent\n ann 2024-03-01 email_opened"),
        ("no review with a rating", "ann 2024-03-01 review_submitted"),
        (
            "no kept order with a category",
            "ann 2024-03-01 order_completed 1\n ann 2024-03-01 product_viewed category=hats",
        ),
        ("no kept order with a time of day", "ann 2024-03-01 order_completed 1"),
        ("the log is younger than 364 days", "ann 2023-03-08 order_completed 1"),
        ("no whole year of the log lies around a past season, or too few orders", "ann 2022-03-08 order_completed 1"),
    ],
)
def test_a_feature_is_null_when_it_says_so(seen, null, one_event_less):
    row = seen(one_event_less, "2024-03-05")
    named = [feature.name for feature in FEATURES if feature.null == null]
    assert named
    assert all(math.isnan(row[name]) for name in named)


def test_every_reason_for_a_null_is_tested():
    reasons = {feature.null for feature in FEATURES}
    tested = test_a_feature_is_null_when_it_says_so.pytestmark[0].args[1]
    assert reasons == {"never", *(null for null, _ in tested)}
