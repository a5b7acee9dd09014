"""Log lines as JSON, with the run, the stage and the episode as fields; and tracebacks without credentials.

A message that names an episode passes it as `extra={"key": …}`. `log_fields` adds fields to all messages of a block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TextIO

import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, WrappedLogger

from partitions.credentials import without_credentials

_TRACEBACK = logging.Formatter()


def hide_credentials() -> None:
    """Hide the credentials of URLs in the tracebacks of this process: libraries' errors quote the URL that they asked."""
    logging.getLogger("podlake").addFilter(_hide_in_traceback)  # the same filter is added once


def _hide_in_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and not record.exc_text:  # formatters take the text if it is there
        record.exc_text = without_credentials(_TRACEBACK.formatException(record.exc_info))
    return True


def _hide_in_exception(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    if "exception" in fields:
        fields["exception"] = without_credentials(fields["exception"])
    return fields


def log_json(stream: TextIO | None = None) -> None:
    """Write the log records of this process, also those of libraries, as a JSON object per line. Default: standard error.

    Fields: timestamp (UTC), level, logger, message, exception, and those of `log_fields` and `extra`.
    """
    if any(isinstance(one.formatter, structlog.stdlib.ProcessorFormatter) for one in logging.getLogger().handlers):
        return
    fields: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_in_exception,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=fields,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("podlake").setLevel(logging.INFO)


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Add the fields to every message of the block in this thread. Not for generators, which share their caller's."""
    with bound_contextvars(**fields):
        yield


def with_log_fields(call: Callable[[], None]) -> Callable[[], None]:
    """The call for another thread, with the fields of this one."""
    context = copy_context()
    return lambda: context.run(call)
