"""Every customer's score on Spark, from a published bundle: the models and the record are those of `serving.scoring`.

Two passes over the customers. The first gives each one's churn probability and worth, of which the driver makes the
shop's ranks (18 bytes a customer reach it); the second gives the records. The models travel to each executor once.
Without reasons: they take as long as all the rest, and are wanted for the members of a list, not for everybody.
"""

from __future__ import annotations

import datetime as dt
from functools import partial, reduce
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pyarrow as pa

from features.log import EventLog
from features.spark import SparkLog
from models.bundle import Champions, check_shop
from serving import sheet
from serving.answers import answer
from serving.csvs import SCORE_COLUMNS, SCORE_HEADER, score_row
from serving.population import Ranks
from serving.profile import Profile
from serving.records import ScoreRecord
from serving.scoring import date, end_of_day

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

STANDING = pa.schema([("churn", pa.float64()), ("stage", pa.int8()), ("status", pa.int8()), ("clv", pa.float64())])
ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), dt.date: pa.date32()}


def scores(log: SparkLog, champions: Champions, scored_at: dt.datetime, as_of: int | None = None) -> DataFrame:
    """A row per customer, with the columns of scores.csv. as_of: default, the end of the log's last day.

    Raises ModelError if a champion was fitted on another shop.
    """
    for model in (champions.churn, champions.transition, champions.clv):
        check_shop(model.card, log.shop)
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


def score_schema() -> pa.Schema:
    """The columns of scores.csv, with the types that the record gives them."""
    kinds = {name: _arrow_type(place) for name, place in SCORE_COLUMNS.items()} | {"model_version": pa.string()}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in SCORE_HEADER])


def _standing_by(log: EventLog, sent: Broadcast[Champions], as_of: int) -> pa.RecordBatch:
    return standing_rows(log, sent.value, as_of)


def _scores_by(log: EventLog, sent: Broadcast[Champions], **rest: Any) -> pa.RecordBatch:
    return score_rows(log, sent.value, **rest)


def _arrow_type(place: str) -> pa.DataType:
    """Of a field of the record or of one of its blocks, such as churn.probability."""
    annotation = reduce(_field, place.split("."), ScoreRecord)
    return next(ARROW[kind] for kind in _kinds(annotation) if kind in ARROW)


def _field(annotation: Any, name: str) -> Any:
    block = next(kind for kind in _kinds(annotation) if hasattr(kind, "model_fields"))
    return block.model_fields[name].annotation


def _kinds(annotation: Any) -> list[Any]:
    """The classes that an annotation speaks of: `Probability | None` of float and NoneType, a Literal of str."""
    if get_origin(annotation) is Literal:
        return [type(value) for value in get_args(annotation)]
    parts = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return list(chain.from_iterable(map(_kinds, parts))) if parts else [annotation]
