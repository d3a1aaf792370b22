"""How much of each feature is unknown: a source that has dried up shows here first."""

from __future__ import annotations

import numpy as np
from prometheus_client.core import GaugeMetricFamily

from features.table import build
from serving.scoring import Scorer

LOOKED_AT = 2_000  # customers, evenly spread: a share to about a percentage point


class Nulls:
    """Keeps the shares of the scorer last asked about: they change only when it does."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._of: Scorer | None = None
        self._shares: dict[str, float] = {}

    def metric(self, scorer: Scorer) -> GaugeMetricFamily:
        """Per feature the share of customers, in [0, 1], of whom it is null."""
        if self._of is not scorer:
            self._shares, self._of = null_shares(scorer), scorer
        found = GaugeMetricFamily("ritorno_feature_null_share", "Share of customers without it.", labels=["feature"])
        for name, share in self._shares.items():
            found.add_metric([name], share)
        return found


def null_shares(scorer: Scorer) -> dict[str, float]:
    """Of each feature that the churn model reads, over customers evenly spread."""
    card = scorer.champions.churn.card
    some = np.unique(np.linspace(0, scorer.log.n_customers - 1, LOOKED_AT).astype(np.int64))
    table = build(scorer.log.slice(some), [scorer.as_of], card.policy, card.features)
    return dict(zip(card.features, np.isnan(table.values).mean(axis=0).tolist(), strict=True))
