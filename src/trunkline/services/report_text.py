"""What people read: the text of a report. Pure. The form is Zuul's, since people and scripts parse it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from trunkline.config import FrozenJob, Pipeline


class JobLine(msgspec.Struct, frozen=True):
    """One job of the buildset as its last build ended. `seconds` None: not measured."""

    name: str
    result: str
    url: str
    voting: bool = True
    seconds: float | None = None
    error_detail: str | None = None
    message: str | None = None
    skipped_by_parent: bool = False


def duration(seconds: float) -> str:
    """`1h 02m 03s`, `02m 03s`, `03s`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h {minutes:02d}m {secs:02d}s"
    return f"{minutes}m {secs:02d}s" if minutes else f"{secs}s"


def job_lines(lines: Sequence[JobLine], *, with_times: bool = True) -> str:
    """`- NAME URL : RESULT DETAIL in 1h 02m 03s (non-voting)`, one a job."""
    out, skipped = [], 0
    for line in lines:
        if line.skipped_by_parent:
            skipped += 1
            continue
        parts = [f"- {line.name}{' ' + line.url if line.url else ''} : {line.message or line.result}"]
        if line.error_detail:
            parts.append(line.error_detail)
        if with_times and line.seconds is not None:
            parts.append(f"in {duration(line.seconds)}")
        if not line.voting:
            parts.append("(non-voting)")
        out.append(" ".join(parts))
    if skipped:
        out.append(f"Skipped {skipped} job{'s' if skipped > 1 else ''}")
    return "\n".join(out)


def compose(
    first: str,
    *,
    item_url: str = "",
    lines: Sequence[JobLine] = (),
    detail: str = "",
    warnings: Sequence[str] = (),
    debug: Sequence[str] = (),
    footer: str = "",
    with_times: bool = True,
) -> str:
    """Message, URL, empty line, job lines; then warnings, debug information and the footer."""
    parts = ["\n".join(filter(None, [first, item_url]))]
    if detail:
        parts.append(detail)
    if lines:
        parts.append(job_lines(lines, with_times=with_times))
    if warnings:
        parts.append("Warning:\n" + "\n".join(f"  {w}" for w in warnings))
    if debug:
        parts.append("Debug information:\n" + "\n".join(f"  {line}" for line in debug))
    if footer:
        parts.append(footer)
    return "\n\n".join(part for part in parts if part) + "\n"


def first_line(pipeline: Pipeline, kind: str, result: str, message: str, item_url: str = "") -> str:
    """The sentence a report begins with. `item_url` is for those that ask for it."""
    match kind:
        case "start":
            return _filled(pipeline.start_message, pipeline, item_url)
        case "enqueue":
            return _filled(pipeline.enqueue_message, pipeline, item_url)
        case "success":
            return pipeline.success_message
        case "merge-conflict":
            return pipeline.merge_conflict_message
        case "no-jobs":
            return _filled(pipeline.no_jobs_message, pipeline, item_url)
        case "dequeue":
            return pipeline.dequeue_message
        case "config-error":
            return "Zuul encountered a syntax error while parsing its configuration"
        case "enqueue-refused":
            return message
        case _:
            return message or pipeline.failure_message


def _filled(text: str, pipeline: Pipeline, item_url: str) -> str:
    """Templates know {pipeline.name} and {item_url} ({status_url} of old); what they do not know stays as written."""
    known = {"pipeline.name": pipeline.name, "pipeline": pipeline.name, "item_url": item_url, "status_url": item_url}
    for name, value in known.items():
        text = text.replace("{" + name + "}", value)
    return text


def message_of(job: FrozenJob | None, row: Mapping[str, Any]) -> str | None:
    """What a job wants to be said in place of its result."""
    if job is None:
        return None
    return job.success_message if row["result"] == "SUCCESS" else job.failure_message
