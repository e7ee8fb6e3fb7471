"""Structured logs: one line per outcome, with the event id; never contents or tokens.

Code logs through `structlog.get_logger("notification_service")`-made loggers of `get_logger`; lines of
libraries pass through the same renderer, so a process speaks with one voice.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from shared.settings import Settings

# Their lines say what ours say better: a task received and succeeded, a sweep sent, a migration's context.
QUIET = ("alembic", "celery.worker.strategy", "celery.app.trace", "celery.beat")
LOGGER = "notification_service"  # the name that the specification's debug section sets levels on


def get_logger(part: str) -> structlog.stdlib.BoundLogger:
    """The logger of one part ("planning", "live", …), below `notification_service`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"{LOGGER}.{part}")
    return logger


def configure_logs(settings: Settings) -> None:
    """Log to standard error in LOG_FORMAT from LOG_LEVEL on. Doors call it once, at their start."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if settings.log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in QUIET:
        logging.getLogger(name).setLevel("WARNING")


def log_through_logging() -> None:
    """Within another application: its `logging` decides on levels, handlers and form. Changes nothing
    for an application that has configured structlog itself."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["event"]),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
