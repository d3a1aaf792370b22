"""What to do about a customer, by where she stands, how likely she is to leave, and what she is worth.

The table is the rule: the first line that fits. An empty cell fits anybody; risk and value are null without a kept
order. Whether she may be written to at all is another question: see `contactable`.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

from features.lifecycle import Stage, Status

Action = Literal[
    "identify", "first_order", "second_order", "win_back", "win_back_low_cost", "retain_personally", "retain",
    "reward", "grow", "leave_alone",
]  # fmt: skip

WORTHY = ("high", "top")


class Rule(NamedTuple):
    """A line of the table; None fits anybody."""

    action: Action
    stage: Stage | None = None
    status: tuple[Status, ...] | None = None
    risk: tuple[str, ...] | None = None
    value_tier: tuple[str, ...] | None = None


WARM = (Status.active, Status.reactivated)
RULES = (
    Rule("identify", Stage.reach),                                    # known by clicks only: get her to register
    Rule("first_order", Stage.acquisition),                           # a lead: bring her to her first order
    Rule("win_back", None, (Status.lapsed,), None, WORTHY),           # gone, and worth an incentive
    Rule("win_back_low_cost", None, (Status.lapsed,)),                # gone: what costs next to nothing, or nothing
    Rule("retain_personally", None, (Status.at_risk,), None, WORTHY), # about to go, and worth somebody's time
    Rule("retain", None, (Status.at_risk,)),                          # about to go: remind her, with a reason to come
    Rule("second_order", Stage.conversion, WARM),                     # ordered once: the second order makes the habit
    Rule("retain", None, WARM, ("high",)),                            # still warm, and likely not to order again
    Rule("reward", Stage.loyalty, WARM),                              # loyal: thank her, ask her to tell others
    Rule("grow", Stage.retention, WARM, None, WORTHY),                # worth much: show her more of the shop
    Rule("leave_alone"),                                              # orders by herself: a discount would be a gift
)  # fmt: skip


@cache
def action(stage: int, status: int, risk: str | None, value_tier: str | None) -> Action:
    """What to do, by the codes of stage and status; see the table."""
    return next(
        rule.action
        for rule in RULES
        if rule.stage in (None, stage)
        and (rule.status is None or status in rule.status)
        and (rule.risk is None or risk in rule.risk)
        and (rule.value_tier is None or value_tier in rule.value_tier)
    )
