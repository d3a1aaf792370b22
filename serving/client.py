"""The service from Python: `Client("http://localhost:8000", key).score("23474").churn.probability`.

ServiceError    the service refused or failed; `status`, `detail` and `fields` say what to change
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from features.errors import RitornoError
from models.reasons import Language
from serving.history import History
from serving.jobs import MEDIA, Form, Job
from serving.members import Member
from serving.messages import EventsAnswer, ItemError, ListRow, Readiness, ScoresAnswer
from serving.records import ScoreRecord

MOST = 1_000  # customers that one request may have
AGAIN = (429, 503)
FORMS: dict[str, Form] = {".csv": "csv", ".parquet": "parquet"}
LOOK_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 60.0

Item = TypeVar("Item")


class ServiceError(RitornoError):
    """The service refused or failed. fields: (field, detail) of what is wrong in the request."""

    def __init__(self, status: int, detail: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        """As the problem says."""
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.fields = status, detail, list(fields)


class Client:
    """Asks again when the service says so (429, 503), up to `tries` times in all; a POST is done once all the same."""

    def __init__(
        self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout_seconds: float = 30.0, tries: int = 3
    ) -> None:
        """Nothing is asked yet."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds)
        self._tries = tries

    def __enter__(self) -> Client:
        """Connections are kept open until the `with` block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self._http.close()

    def score(
        self, customer_id: str, explain: bool = False, lang: Language = "en", horizon_days: int | None = None
    ) -> ScoreRecord:
        """One customer's record. Raises ServiceError (404: nobody of that id). horizon_days: else the models' own."""
        path = f"/v1/customers/{quote(customer_id, safe='')}/scores"
        params = {"explain": explain, "lang": lang} | ({"horizon_days": horizon_days} if horizon_days else {})
        return ScoreRecord.model_validate_json(self._ask("GET", path, params=params))

    def score_many(
        self, customer_ids: Sequence[str] = (), customers: Sequence[Mapping[str, Any]] = (),
        explain: bool = False, lang: Language = "en",
    ) -> ScoresAnswer:  # fmt: skip
        """Records of any number by id, and of `customers` who bring their events; beside them, who has none and why."""
        items = [*(("customer_ids", each) for each in customer_ids), *(("customers", each) for each in customers)]
        answers = [self._score_some(some, explain, lang) for some in _batches(items)]
        return ScoresAnswer(
            scores=[score for answer in answers for score in answer.scores],
            errors=[error for answer in answers for error in answer.errors],
        )

    def send(self, events: Sequence[Mapping[str, Any]]) -> EventsAnswer:
        """Events of any number: on the disk when this returns, counted once however often they are sent.

        Beside how many: those that were refused, with the reason, by their place among these (`events[3]`).
        """
        accepted, known, errors = 0, 0, list[ItemError]()
        for number, some in enumerate(_batches(events)):
            said = self._ask("POST", "/v1/events", json={"events": list(some)})
            answer = EventsAnswer.model_validate_json(said)
            accepted, known = accepted + answer.accepted, known + answer.known
            for error in answer.errors:
                place = int(error.item.removeprefix("events[").removesuffix("]")) + number * MOST
                errors.append(error.model_copy(update={"item": f"events[{place}]"}))
        return EventsAnswer(accepted=accepted, known=known, errors=errors)

    def history(self, customer_id: str, months: int = 24) -> History:
        """Since when she has stood where, and her scores at past month ends. Raises ServiceError (404)."""
        path = f"/v1/customers/{quote(customer_id, safe='')}/history"
        return History.model_validate_json(self._ask("GET", path, params={"months": months}))

    def members(self, name: str, lang: Language = "en", page: int = MOST) -> Iterator[Member]:
        """Everybody on another list (`GET /v1/lists` names them), in its order. Raises ServiceError (410)."""
        return (Member.model_validate(each) for each in self._pages(f"/v1/lists/{quote(name, safe='')}", lang, page))

    def at_risk(self, lang: Language = "en", page: int = MOST) -> Iterator[ListRow]:
        """Everybody on the at-risk list, the most at stake first. Raises ServiceError (410: it changed meanwhile)."""
        return (ListRow.model_validate(each) for each in self._pages("/v1/lists/at_risk", lang, page))

    def score_file(self, ids: Path, out: Path, explain: bool = False, lang: Language = "en") -> Job:
        """Scores for a file with a column customer_id, of any length, into another; each CSV or Parquet by its name.

        Waits until it is done. Raises ServiceError, also when the job fails or is cancelled.
        """
        params = {"format": FORMS[out.suffix], "explain": explain, "lang": lang}
        headers = {"Content-Type": MEDIA[FORMS[ids.suffix]], "Idempotency-Key": uuid.uuid4().hex}
        with open(ids, "rb") as file:
            begun = self._ask("POST", "/v1/scores/jobs", params=params, headers=headers, content=file, tries=1)
        job = Job.model_validate_json(begun)
        while job.status in ("queued", "running"):
            time.sleep(LOOK_SECONDS)
            job = Job.model_validate_json(self._ask("GET", f"/v1/scores/jobs/{job.job_id}"))
        if job.result_url is None:
            raise ServiceError(409, job.problem or f"the job is {job.status}")
        with self._http.stream("GET", job.result_url) as answer, open(out, "wb") as file:
            if not answer.is_success:
                answer.read()
                raise _error(answer)
            for piece in answer.iter_bytes():
                file.write(piece)
        return job

    def ready(self) -> Readiness:
        """What is served, and what is amiss. Raises ServiceError while nothing is."""
        return Readiness.model_validate_json(self._ask("GET", "/readyz"))

    def _pages(self, path: str, lang: Language, page: int) -> Iterator[dict[str, Any]]:
        params: dict[str, Any] = {"limit": page, "lang": lang}
        while True:
            found = json.loads(self._ask("GET", path, params=params))
            yield from found["members"]
            if found["next_cursor"] is None:
                return
            params["cursor"] = found["next_cursor"]

    def _score_some(self, some: Sequence[tuple[str, Any]], explain: bool, lang: Language) -> ScoresAnswer:
        body: dict[str, list[Any]] = {"customer_ids": [], "customers": []}
        for kind, item in some:
            body[kind].append(item)
        params, headers = {"explain": explain, "lang": lang}, {"Idempotency-Key": uuid.uuid4().hex}
        return ScoresAnswer.model_validate_json(
            self._ask("POST", "/v1/scores", params=params, json=body, headers=headers)
        )

    def _ask(self, method: str, path: str, tries: int | None = None, **options: Any) -> bytes:
        for left in reversed(range(tries or self._tries)):
            answer = self._http.request(method, path, **options)
            if not (left and answer.status_code in AGAIN):
                break
            time.sleep(min(float(answer.headers.get("retry-after", 1)), LONGEST_WAIT_SECONDS))
        if answer.is_success:
            return answer.content
        raise _error(answer)


def _batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + MOST] for start in range(0, len(items), MOST)]


def _error(answer: httpx.Response) -> ServiceError:
    try:
        said = answer.json()
        fields = [(each["field"], each["detail"]) for each in said.get("errors", [])]
        return ServiceError(answer.status_code, said["detail"], fields)
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's page, not ours
        return ServiceError(answer.status_code, answer.reason_phrase)
