"""What the service answers with right now, and how it changes: one immutable scorer, swapped when a pointer moves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from features.errors import RitornoError
from features.store import open_store
from models.bundle import load_champions
from serving import bundles
from serving.errors import NotReady
from serving.fresh import Fresh
from serving.live import Live
from serving.memory import settle
from serving.previous import keep, scores_folder
from serving.scoring import Scorer, end_of_day
from serving.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
Seen = tuple[str, str, int]
Besides = Callable[[], str | None]


class Current:
    """Holds the scorer in use. A new bundle or store that cannot be loaded leaves the old one; `problems` says why."""

    def __init__(self, settings: Settings, besides: Besides = lambda: None) -> None:
        """Nothing is loaded yet. besides: what else is amiss, in words; None if nothing is."""
        self.settings, self._besides = settings, besides
        self._scorer: Scorer | None = None
        self._fresh: Fresh | None = None
        self._seen: Seen | None = None
        self._problem: str | None = None
        self.live = Live(settings.live)

    @property
    def scorer(self) -> Scorer:
        """The one in use. Raises NotReady."""
        if self._scorer is None:
            raise NotReady(" ".join(self.problems))
        return self._scorer

    @property
    def is_ready(self) -> bool:
        """Whether there is a scorer."""
        return self._scorer is not None

    @property
    def problems(self) -> list[str]:
        """Why the newest champions or events are not the ones in use."""
        found = [self._problem, bundles.refusal(self.settings.bundle), self._missing(), self._besides()]
        return list(dict.fromkeys(text for text in found if text))

    @property
    def fresh(self) -> Fresh:
        """The scorer in use with all that was posted up to now. Raises NotReady."""
        scorer = self.scorer
        self.live.refresh()
        if self._fresh is None or self._fresh.scorer is not scorer:
            self._fresh = Fresh(scorer, self.live)
        return self._fresh

    async def watch(self) -> None:
        """Look at the pointers each second, and load in a thread what has changed; until cancelled."""
        while True:
            if self._look() != self._seen:
                loading = asyncio.create_task(asyncio.to_thread(self.refresh))
                while not loading.done():  # and go on following the journal, whose segments may go meanwhile
                    self._follow()
                    await asyncio.wait([loading], timeout=LOOK_SECONDS)
                await loading
            self._follow()
            await asyncio.sleep(LOOK_SECONDS)

    def refresh(self) -> None:
        """Load what the pointers name, if it is not loaded yet, and put it to use."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            fresh = self._load(seen)
        except Exception as error:  # whatever is wrong with the new one, the old one goes on answering
            is_ours = not isinstance(error, RitornoError)
            self._problem = f"an error of ours: {error!r}" if is_ours else str(error)
            logger.warning("the new models or events are not served: %s", self._problem, exc_info=is_ours)
            return
        self._problem = None
        if fresh is None:
            return
        self._scorer = fresh
        self.live.settle(fresh.log)
        settle()
        logger.info("serving %s of %s as of %s", *(text.split()[0] for text in seen[:2]), fresh.day)

    def _follow(self) -> None:
        try:
            self.live.look_for_erased()
            self.live.refresh()
        except (OSError, RitornoError) as error:
            logger.warning("the journal of posted events cannot be read: %s", error)

    def _look(self) -> Seen:
        """The bundle's and the store's pointers, and the end of today where today counts."""
        today = end_of_day(time.time_ns() // 1000) if self.settings.as_of == "now" else 0
        return bundles.edition(self.settings.bundle), bundles.edition(self.settings.store), today

    def _load(self, seen: Seen) -> Scorer | None:
        bundle = bundles.current(self.settings.bundle)
        if bundle is None:
            return None
        kept = scores_folder(self.settings.bundle)
        scorer = Scorer.of(open_store(self.settings.store), load_champions(bundle), seen[2] or None, kept)
        keep(kept, scorer.sheet)
        return scorer

    def _missing(self) -> str | None:
        """What to do while there is nothing to answer with, and nothing is known to be wrong with what there is."""
        if self._scorer or self._problem:
            return None
        if not bundles.current(self.settings.bundle):
            return (
                f"models: found none at {self.settings.bundle}, expected a published bundle. "
                "Fit them (python -m training fit) and publish them (python -m serving publish)."
            )
        return "models: being loaded. Ask again in a few seconds."
