"""What a training found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from models.sentences import in_words
from training.backtest import Backtest
from training.replay import SERVED, Replayed, in_all, verdict

if TYPE_CHECKING:
    from training.run import Training

COLUMNS = {
    "auc": ("AUC", "{:z.3f}"), "log_loss": ("log-loss", "{:.4f}"), "ece": ("ECE", "{:z.3f}"),
    "orders_rmse": ("orders RMSE", "{:z.3f}"), "orders_bias": ("orders bias", "{:+z.1%}"),
    "spend_gini": ("spend Gini", "{:z.3f}"), "spend_bias": ("spend bias", "{:+z.1%}"),
}  # fmt: skip

TOO_LITTLE = (
    "expected a log of two and a half horizons up to --as-of, and in it somebody who had ordered by then. "
    "Load more history, or choose a shorter --horizon-days."
)


def ladder(test: Backtest) -> str:
    """The accuracy table: one line a rung, the mean over the held-out windows."""
    if not test.folds:
        return f"No backtest: {TOO_LITTLE}"
    days = in_words(test.folds[0].horizon_days, "day|days", "en")
    origins = ", ".join(fold.origin for fold in test.folds)
    head = f"Held-out accuracy: forecasts made on {origins}, each for the {days} after"
    rows = [["", *(title for title, _ in COLUMNS.values())]]
    rows += [[row["rung"], *(cell(row[key], form) for key, (_, form) in COLUMNS.items())] for row in test.ladder()]
    return "\n".join([head, *aligned(rows)])


def replayed(rows: Sequence[Replayed], horizon_days: int, currency: str = "") -> str:
    """The lists on past days: a line a list and origin, then the sums and what they say."""
    if not rows:
        return f"No list to replay: {TOO_LITTLE}"
    head = [["", "day", "listed", "gone before", "left", "we said", "used to spend", "spent", "we said"]]
    lines = [
        [
            row.list, row.origin, f"{row.customers:,}", f"{row.gone:,}", f"{row.left:,}", f"{row.said_left:z,.0f}",
            f"{row.lost:z,.0f}", f"{row.spend:z,.0f}", f"{row.said_spend:z,.0f}",
        ]
        for row in (*sorted(rows, key=lambda row: row.list != SERVED), *in_all(list(rows)))
    ]  # fmt: skip
    days = in_words(horizon_days, "day|days", "en")
    title = f"The list replayed: who left, and what they used to spend in {days}; and what all listed spent"
    return "\n".join([title, *aligned(head + lines), verdict(list(rows), horizon_days, currency)]).rstrip()


def registered(done: Training) -> str:
    """One line a model: version, and whether it serves."""
    lines = []
    for model in done.models:
        role = "champion" if model.is_champion else "challenger (not promoted)"
        lines.append(f"{model.name}: version {model.version} registered, {role}")
    return "\n".join(lines)


def cell(value: Any, form: str) -> str:
    """A measure as text; a dash where it is not known."""
    return form.format(value) if value == value else "-"


def aligned(rows: list[list[str]]) -> list[str]:
    """Lines of a table: the first column and texts to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
