"""The pictures that go with a run: is the probability true, and does the ranking find those who leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.backtest import OURS, Backtest


def calibration(bins: Sequence[Mapping[str, Any]]) -> Figure:
    """Of those to whom we said p, how many left."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8")
    axes.plot([b["predicted"] for b in bins], [b["seen"] for b in bins], marker="o", clip_on=False)
    axes.set(
        xlabel="churn probability we said",
        ylabel="share that did leave",
        title="Calibration, on held-out time",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    return figure


def concentration(test: Backtest) -> Figure:
    """The most valuable share of customers, as each rung ranks them, brought this share of the money."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    spend = np.maximum(test.joined(lambda f: f.spend), 0.0)
    share = np.arange(1, len(spend) + 1) / max(len(spend), 1)
    for rung in test.folds[0].forecasts:
        brought = np.cumsum(spend[np.argsort(-test.forecast(rung).spend, kind="stable")]) / max(spend.sum(), 1e-9)
        axes.plot(share, brought, label=rung, linewidth=2.5 if rung == OURS else 1)
    axes.plot([0, 1], [0, 1], color="0.8")
    axes.set(xlabel="most valuable share of customers", ylabel="share of the money", title="Value, on held-out time")
    axes.legend()
    return figure


def lift(test: Backtest) -> Figure:
    """Contacting the riskiest share of customers finds this share of those who leave, rung by rung."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    churned = test.joined(lambda f: f.churned)
    share = np.arange(1, len(churned) + 1) / len(churned)
    for rung in test.folds[0].forecasts:
        found = np.cumsum(churned[np.argsort(test.forecast(rung).purchase_probability, kind="stable")]) / max(
            churned.sum(), 1
        )
        axes.plot(share, found, label=rung, linewidth=2.5 if rung == OURS else 1)
    axes.plot([0, 1], [0, 1], color="0.8")
    axes.set(
        xlabel="riskiest share of customers", ylabel="share of the leavers among them", title="Lift, on held-out time"
    )
    axes.legend()
    return figure
