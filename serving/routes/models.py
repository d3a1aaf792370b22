"""The models in use: what they are, how they were judged, whether the customers are still those of then."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request

from serving.cards import ModelCard, ModelList, model_card, model_list
from serving.drift import Drift, drifts
from serving.problems import PROBLEMS
from serving.quality import DataQuality, data_quality
from serving.routes.ask import CurrentNow, fresh_of, now

router = APIRouter(prefix="/v1", tags=["models"], responses=PROBLEMS)


@router.get("/models")
async def every_model(current: CurrentNow) -> ModelList:
    """The models in use, and what is amiss."""
    return model_list(current)


@router.get("/models/{name}")
async def one_model(request: Request, name: Annotated[str, Path(description="churn, transition or clv.")]) -> ModelCard:
    """A model in use with its card: features, held-out figures beside the ladder's, calibration, gate."""
    return model_card(fresh_of(request).scorer, name)


@router.get("/drift")
async def drift(request: Request) -> Drift:
    """How far features and answers have moved from those of the fit, by population stability index."""
    return await asyncio.to_thread(drifts, fresh_of(request).scorer)


@router.get("/data-quality")
async def quality(current: CurrentNow) -> DataQuality:
    """What the doctor said at the last load, and how fresh the events are."""
    return await asyncio.to_thread(data_quality, current, now())
