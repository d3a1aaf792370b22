"""A POST that is sent twice with one Idempotency-Key is done once: the second gets the first one's answer.

Whichever worker is asked, and after a restart too (`serving.answered`). Where nothing can be written each is answered
anew: whatever changes data is idempotent without it (events by their message_id or content). Files pass by: a job
remembers its own key (`serving.uploads`).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import is_large
from serving.answered import Answer, Answers, Held
from serving.body_limit import replay
from serving.problems import problem

ALLOWED = re.compile(r"[!-~]{1,255}")


class Idempotency:
    """ASGI middleware: same key and body, same answer; same key and another body, 422. Inside the body's limit."""

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        """folder: where answers are kept."""
        self.app, self.answers = app, Answers(folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as before, or let the app answer and keep that."""
        headers = Headers(scope=scope) if scope["type"] == "http" and scope["method"] == "POST" else {}
        key = headers.get("idempotency-key")
        if key is None or is_large(scope["path"]):
            await self.app(scope, receive, send)
            return
        if not ALLOWED.fullmatch(key):
            text = "Idempotency-Key: expected 1 to 255 visible ASCII characters, such as a UUID. Correct or omit it."
            await problem(422, text, [("Idempotency-Key", text)])(scope, receive, send)
            return
        body = await _whole(receive)
        digest = hashlib.sha256(headers.get("content-type", "").encode() + b"\0" + body).digest()
        caller = scope.get("state", {}).get("key")  # callers do not share answers
        name = json.dumps([caller, scope["path"], scope.get("query_string", b"").decode("latin-1"), key])
        async with self.answers.hold(name) as held:
            await self._once(held, digest, scope, replay(body, receive), send)

    async def _once(self, held: Held, digest: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        before = held.read()
        if before is None:
            await self._first(held, digest, scope, receive, send)
            return
        scope["route"] = SimpleNamespace(path=before.route)  # for logs and metrics: no router comes to say so
        if before.digest == digest:
            headers = [*before.headers, (b"idempotency-replayed", b"true")]
            await send({"type": "http.response.start", "status": before.status, "headers": headers})
            await send({"type": "http.response.body", "body": before.body})
        else:
            text = "Idempotency-Key: it was used for another body. Send a new key with a new request."
            await problem(422, text, [("Idempotency-Key", text)])(scope, receive, send)

    async def _first(self, held: Held, digest: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, and keep that before it is sent: whoever lost the connection finds it."""
        said: list[Message] = []

        async def noted(message: Message) -> None:
            said.append(dict(message))  # a copy: what is outside adds to it what is of this request alone
            if not message.get("more_body", False) and message["type"] == "http.response.body":
                start, *rest = said
                if start["status"] < 500:
                    body = b"".join(each.get("body", b"") for each in rest)
                    route = getattr(scope.get("route"), "path", "")
                    held.write(Answer(digest, route, start["status"], list(start["headers"]), body))
            await send(message)

        await self.app(scope, receive, noted)


async def _whole(receive: Receive) -> bytes:
    """The body; BodyLimit has put it together."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)
