"""Traces for OpenTelemetry, where its packages are installed and an OTEL_… variable says that somebody collects them.

Spans are our own rather than the FastAPI instrumentation's, which records addresses with customers' ids in them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span
    from starlette.datastructures import Headers

logger = logging.getLogger(__name__)


def wanted() -> bool:
    """Whether the environment asks for traces."""
    is_off = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return not is_off and any(name.startswith("OTEL_") for name in os.environ)


def tracer() -> Traces | None:
    """Sends spans where OTEL_EXPORTER_OTLP_ENDPOINT says; None where nobody asks for them, or it cannot be done."""
    if not wanted():
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return Traces(OTLPSpanExporter())
    except ImportError:
        logger.warning("OTEL_… is set, and OpenTelemetry is not installed: no traces. pip install 'ritorno[otel]'")
        return None


class Traces:
    """Gives each request a span, a child of the caller's where the request names one (traceparent)."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Spans go to the exporter, in batches, from a thread of its own."""
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "ritorno"}
        self.provider = TracerProvider(resource=Resource.create(named))
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("ritorno")

    @contextmanager
    def span(self, method: str, headers: Headers, request_id: str) -> Iterator[Answered]:
        """A span while the request is worked on."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        known = {"http.request.method": method, "ritorno.request_id": request_id}
        with self._tracer.start_as_current_span(method, extract(headers), SpanKind.SERVER, known) as span:
            yield Answered(span, method)


class Answered:
    """Names the span after the route, once that is known."""

    def __init__(self, span: Span, method: str) -> None:
        """Of one request."""
        self._span, self._method = span, method

    def answered(self, route: str, status: int) -> None:
        """The route's template, the status, and whether the fault is ours."""
        from opentelemetry.trace import StatusCode

        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
