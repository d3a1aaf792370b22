"""Every customer's score on Spark, from a published bundle: the models and the record are those of `serving.scoring`.

Two passes over the customers. The first gives each one's churn probability and worth, of which the driver makes the
shop's ranks (18 bytes a customer reach it); the second gives the records. The models travel to each executor once.
Without reasons: they take as long as all the rest, and are wanted for the members of a list, not for everybody.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features.log import EventLog
from features.spark import SparkLog
from models.bundle import Champions, check_champions
from serving import sheet
from serving.answers import answer
from serving.arrow import score_schema
from serving.csvs import SCORE_HEADER, score_row
from serving.population import Ranks
from serving.profile import Profile
from serving.records import ScoreRecord
from serving.scoring import date, end_of_day

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

STANDING = pa.schema([("churn", pa.float64()), ("stage", pa.int8()), ("status", pa.int8()), ("clv", pa.float64())])


def scores(log: SparkLog, champions: Champions, scored_at: dt.datetime, as_of: int | None = None) -> DataFrame:
    """A row per customer, with the columns of scores.csv. as_of: default, the end of the log's last day.

    Raises ModelError if a champion was fitted on another shop.
    """
    check_champions(champions, log.shop)
    instant = end_of_day(log.last_ts if as_of is None else as_of)
    sent = log.rows.sparkSession.sparkContext.broadcast(champions)
    found = log.map(partial(_standing_by, sent=sent, as_of=instant), STANDING).toArrow()
    ranks = Ranks.of(*(found[name].to_numpy() for name in STANDING.names)).in_hundredths()
    rows = partial(
        _scores_by, sent=sent, ranks=ranks, as_of=instant, scored_at=scored_at, data_through=date(log.last_ts)
    )
    return log.map(rows, score_schema())


def standing_rows(log: EventLog, champions: Champions, as_of: int) -> pa.RecordBatch:
    """Churn probability, stage, status and worth of the log's customers with a kept order; see STANDING."""
    answers = answer(champions, log, as_of)
    ordered = ~np.isnan(answers.churn)
    parts = (answers.churn, answers.stage, answers.status, answers.spend * answers.worth)
    columns = (pa.array(column[ordered]) for column in parts)
    cast = [column.cast(kind) for column, kind in zip(columns, STANDING.types, strict=True)]
    return pa.RecordBatch.from_arrays(cast, schema=STANDING)


def score_rows(
    log: EventLog, champions: Champions, ranks: Ranks, as_of: int, scored_at: dt.datetime, data_through: dt.date
) -> pa.RecordBatch:
    """The scores of the log's customers; see `score_schema`."""
    answers = answer(champions, log, as_of)
    profile = Profile.of(champions, ranks, log.currency)
    numbers = sheet.rows(answers).tolist()
    records = (
        ScoreRecord.model_validate(profile.record(row, customer_id, date(as_of), scored_at, data_through, None))
        for row, customer_id in zip(numbers, answers.facts.customer_ids, strict=True)
    )
    columns = zip(*map(score_row, records), strict=True) if len(answers) else ([] for _ in SCORE_HEADER)
    schema = score_schema()
    cells = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(cells, schema=schema)


def _standing_by(log: EventLog, sent: Broadcast[Champions], as_of: int) -> pa.RecordBatch:
    return standing_rows(log, sent.value, as_of)


def _scores_by(log: EventLog, sent: Broadcast[Champions], **rest: Any) -> pa.RecordBatch:
    return score_rows(log, sent.value, **rest)
