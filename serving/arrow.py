"""Scores as Arrow columns: the flat row of scores.csv, with the types that the record gives its fields."""

from __future__ import annotations

import datetime as dt
from functools import reduce
from itertools import chain
from typing import Annotated, Any, Literal, get_args, get_origin

import pyarrow as pa

from serving.csvs import SCORE_COLUMNS, SCORE_HEADER
from serving.records import ScoreRecord

ARROW = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), dt.date: pa.date32()}


def score_schema() -> pa.Schema:
    """The columns of scores.csv, with the types that the record gives them."""
    kinds = {name: _arrow_type(place) for name, place in SCORE_COLUMNS.items()} | {"model_version": pa.string()}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in SCORE_HEADER])


def _arrow_type(place: str) -> pa.DataType:
    """Of a field of the record or of one of its blocks, such as churn.probability."""
    annotation = reduce(_field, place.split("."), ScoreRecord)
    return next(ARROW[kind] for kind in _kinds(annotation) if kind in ARROW)


def _field(annotation: Any, name: str) -> Any:
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    block = next(kind for kind in _kinds(annotation) if hasattr(kind, "model_fields"))
    return block.model_fields[name].annotation


def _kinds(annotation: Any) -> list[Any]:
    """The classes that an annotation speaks of: `Probability | None` of float and NoneType, a Literal of str."""
    if get_origin(annotation) is Literal:
        return [type(value) for value in get_args(annotation)]
    parts = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return list(chain.from_iterable(map(_kinds, parts))) if parts else [annotation]
