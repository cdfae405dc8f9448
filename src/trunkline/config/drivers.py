"""What each driver takes as trigger, requirement and reporter in a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trunkline.config.errors import Refused
from trunkline.config.read_job import Located, as_list
from trunkline.config.regex import DEPRECATION, regexes_of
from trunkline.config.shape import (
    ANY,
    BOOL,
    INT,
    MAP,
    NUMBER,
    STR,
    Either,
    Fields,
    OneOf,
    scalar_or_list,
)

Warn = Callable[[str, str, tuple[Any, ...]], None]
_STRS = scalar_or_list(STR)
_REGEX = Either((STR, Fields({"regex": STR, "negate": BOOL}, required=("regex",))))
_REGEXES = scalar_or_list(_REGEX)
_APPROVALS = scalar_or_list(Fields({}, rest=ANY))
_NAMED = {"username": STR, "email": STR, "older-than": STR, "newer-than": STR}

GERRIT_EVENTS = (
    "patchset-created",
    "draft-published",
    "change-abandoned",
    "change-restored",
    "change-merged",
    "comment-added",
    "ref-updated",
    "pending-check",
    "vote-deleted",
    "hashtags-changed",
    "wip-state-changed",
)
_GERRIT_REQUIREMENT = Fields(
    {
        "approval": _APPROVALS,
        "open": BOOL,
        "current-patchset": BOOL,
        "wip": BOOL,
        "status": _STRS,
        "hashtags": _REGEXES,
    }
)
_GERRIT_TRIGGER = Fields(
    {
        "event": scalar_or_list(OneOf(GERRIT_EVENTS)),
        "uuid": STR,
        "scheme": STR,
        "branch": _REGEXES,
        "ref": _REGEXES,
        "ignore-deletes": BOOL,
        "approval": _APPROVALS,
        "approval-change": _APPROVALS,
        "comment": _REGEXES,
        "comment_filter": _STRS,
        "email": _REGEXES,
        "email_filter": _STRS,
        "username": _REGEXES,
        "username_filter": _STRS,
        "added": _REGEXES,
        "removed": _REGEXES,
        "require": _GERRIT_REQUIREMENT,
        "reject": _GERRIT_REQUIREMENT,
        "require-approval": _APPROVALS,
        "reject-approval": _APPROVALS,
        "debug": BOOL,
    },
    required=("event",),
)
_GERRIT_REPORTER = Fields(
    {"submit": BOOL, "comment": BOOL, "notify": STR, "checks-api": MAP}, rest=Either((INT, STR, NUMBER))
)
_REVIEW = Fields(
    {
        **_NAMED,
        "type": OneOf(("approved", "changes_requested", "comment", "comments")),
        "permission": OneOf(("read", "write", "admin")),
    }
)
_GITHUB_REQUIREMENT = Fields(
    {
        "review": scalar_or_list(_REVIEW),
        "open": BOOL,
        "merged": BOOL,
        "current-patchset": BOOL,
        "draft": BOOL,
        "status": _STRS,
        "label": _STRS,
    }
)
_GITHUB_TRIGGER = Fields(
    {
        "event": scalar_or_list(OneOf(("pull_request", "pull_request_review", "push", "check_run"))),
        "action": _STRS,
        "branch": _REGEXES,
        "ref": _REGEXES,
        "comment": _REGEXES,
        "label": _STRS,
        "unlabel": _STRS,
        "state": _STRS,
        "require-status": _STRS,
        "require": _GITHUB_REQUIREMENT,
        "reject": _GITHUB_REQUIREMENT,
        "status": _STRS,
        "check": STR,
        "permission": OneOf(("read", "write", "admin")),
        "debug": BOOL,
    },
    required=("event",),
)
_GITHUB_COMMON: dict[str, Any] = {
    "event": ANY,
    "require": ANY,
    "reject": ANY,
    "debug": BOOL,
}
_GITHUB_ACTIONS = (
    "opened",
    "changed",
    "closed",
    "reopened",
    "comment",
    "labeled",
    "unlabeled",
    "status",
    "converted_to_draft",
    "ready_for_review",
)
_GITHUB_BY_EVENT: dict[str, Fields] = {
    "pull_request": Fields(
        {
            **_GITHUB_COMMON,
            "action": scalar_or_list(OneOf(_GITHUB_ACTIONS)),
            "branch": _REGEXES,
            "comment": _REGEXES,
            "label": _STRS,
            "unlabel": _STRS,
            "status": _STRS,
            "permission": STR,
        }
    ),
    "pull_request_review": Fields(
        {
            **_GITHUB_COMMON,
            "action": scalar_or_list(OneOf(("submitted", "dismissed"))),
            "branch": _REGEXES,
            "state": _STRS,
        }
    ),
    "push": Fields({**_GITHUB_COMMON, "ref": _REGEXES}),
    "check_run": Fields(
        {**_GITHUB_COMMON, "action": scalar_or_list(OneOf(("rerequested", "completed"))), "check": STR}
    ),
}
_GITHUB_REPORTER = Fields(
    {
        "status": OneOf(("pending", "success", "failure")),
        "status-url": STR,
        "comment": BOOL,
        "merge": BOOL,
        "label": _STRS,
        "unlabel": _STRS,
        "review": OneOf(("approve", "request-changes", "comment")),
        "review-body": STR,
        "check": OneOf(("in_progress", "success", "failure", "cancelled", "skipped", "neutral", "queued")),
    }
)
_GITLAB_REQUIREMENT = Fields({"open": BOOL, "merged": BOOL, "approved": BOOL, "labels": _STRS})
_GITLAB_TRIGGER = Fields(
    {
        "event": scalar_or_list(OneOf(("gl_merge_request", "gl_push"))),
        "action": _STRS,
        "branch": _REGEXES,
        "comment": _REGEXES,
        "ref": _REGEXES,
        "labels": _STRS,
        "unlabels": _STRS,
        "debug": BOOL,
    },
    required=("event",),
)
_GITLAB_REPORTER = Fields({"comment": BOOL, "approval": BOOL, "merge": BOOL, "label": _STRS, "unlabel": _STRS})
_PAGURE_REQUIREMENT = Fields({"score": INT, "open": BOOL, "merged": BOOL, "status": STR, "tags": _STRS})
_PAGURE_TRIGGER = Fields(
    {
        "event": scalar_or_list(OneOf(("pg_pull_request", "pg_pull_request_review", "pg_push"))),
        "action": _STRS,
        "comment": _REGEXES,
        "status": _STRS,
        "ref": _REGEXES,
        "tag": _STRS,
        "debug": BOOL,
    },
    required=("event",),
)
_PAGURE_REPORTER = Fields(
    {"status": OneOf(("pending", "success", "failure")), "status-url": STR, "comment": BOOL, "merge": BOOL}
)

_TRIGGERS: dict[str, Any] = {
    "gerrit": _GERRIT_TRIGGER,
    "github": _GITHUB_TRIGGER,
    "gitlab": _GITLAB_TRIGGER,
    "pagure": _PAGURE_TRIGGER,
    "git": Fields(
        {"event": scalar_or_list(OneOf(("ref-updated",))), "ref": _REGEXES, "ignore-deletes": BOOL, "debug": BOOL},
        required=("event",),
    ),
    "timer": Fields({"time": STR, "dereference": BOOL, "debug": BOOL}, required=("time",)),
    "zuul": Fields(
        {
            "event": scalar_or_list(
                OneOf(
                    ("parent-change-enqueued", "project-change-merged", "image-build", "image-validate", "image-delete")
                )
            ),
            "pipeline": _REGEXES,
            "debug": BOOL,
        },
        required=("event",),
    ),
}
_REQUIREMENTS: dict[str, Any] = {
    "gerrit": _GERRIT_REQUIREMENT,
    "github": _GITHUB_REQUIREMENT,
    "gitlab": _GITLAB_REQUIREMENT,
    "pagure": _PAGURE_REQUIREMENT,
}
_REPORTERS: dict[str, Any] = {
    "gerrit": _GERRIT_REPORTER,
    "github": _GITHUB_REPORTER,
    "gitlab": _GITLAB_REPORTER,
    "pagure": _PAGURE_REPORTER,
    "smtp": Fields({"to": STR, "from": STR, "subject": STR}),
    "mqtt": Fields({"topic": STR, "qos": OneOf((0, 1, 2)), "include-returned-data": BOOL}, required=("topic",)),
    "elasticsearch": Fields({"index": STR, "index-vars": BOOL, "index-returned-vars": BOOL}),
    "zuul": Fields({"image-built": BOOL, "image-validated": BOOL}),
}
_SEARCHED = ("comment", "email", "username", "added", "removed")
_REGEX_KEYS = ("branch", "ref", "pipeline", *_SEARCHED)


def _check(shape: Any, value: Any, path: tuple[Any, ...], what: str) -> None:
    faults: list[tuple[tuple[Any, ...], str, str]] = []
    shape.check(value, path, lambda p, text, mend: faults.append((p, text, mend)))
    if faults:
        where, text, mend = faults[0]
        raise Located(f"In the {what}: {text}", path=where, mend=mend)


def _check_regexes(value: dict[str, Any], path: tuple[Any, ...], warn: Warn, keys: tuple[str, ...]) -> None:
    for key in keys:
        if key not in value:
            continue
        try:
            regexes_of(value[key], lambda text, key=key: warn(DEPRECATION, text, (*path, key)))  # type: ignore[misc]
        except Refused as problem:
            raise Located(problem.short, path=(*path, key)) from None


def check_trigger(driver: str | None, value: Any, path: tuple[Any, ...], warn: Warn) -> None:
    """Refuse a trigger that its driver does not take; warn of what is deprecated."""
    shape = _TRIGGERS.get(driver or "")
    if shape is None:
        return
    _check(shape, value, path, f"trigger of {driver}")
    _check_regexes(value, path, warn, _REGEX_KEYS)
    for key in ("require", "reject"):
        if driver == "gerrit" and isinstance(value.get(key), dict):
            _check_regexes(value[key], (*path, key), warn, ("hashtags",))
    if driver == "gerrit":
        for key in ("require-approval", "reject-approval"):
            if key in value:
                warn(f"Gerrit {key} Deprecation", f"{key} is deprecated: use {key.split('-')[0]}", (*path, key))
    if driver == "github":
        _github_warnings(value, path, warn)


def _github_warnings(value: dict[str, Any], path: tuple[Any, ...], warn: Warn) -> None:
    events = value["event"]
    if isinstance(events, list):
        warn(
            "Github event list Deprecation",
            "A list of events is deprecated: write one trigger an event",
            (*path, "event"),
        )
    if "require-status" in value:
        warn(
            "Github require-status Deprecation", "require-status is deprecated: use require", (*path, "require-status")
        )
    if "unlabel" in value:
        warn("Github unlabel Deprecation", "unlabel is deprecated: use action unlabeled with label", (*path, "unlabel"))
    if "requested" in as_list(value.get("action")):
        text = "The action requested is deprecated: use rerequested"
        warn("Github requested action Deprecation", text, (*path, "action"))
    for event in as_list(events):
        faults: list[tuple[tuple[Any, ...], str, str]] = []
        _GITHUB_BY_EVENT[event].check(value, path, lambda p, t, m: faults.append((p, t, m)))  # noqa: B023
        if faults:
            warn("Github Trigger Configuration Warning", f"In the trigger of github: {faults[0][1]}", faults[0][0])


def check_requirement(driver: str | None, value: Any, path: tuple[Any, ...], warn: Warn) -> None:
    """Refuse a requirement that its driver does not take."""
    shape = _REQUIREMENTS.get(driver or "")
    if shape is None:
        return
    _check(shape, value, path, f"requirement of {driver}")
    if driver == "gerrit":
        _check_regexes(value, path, warn, ("hashtags",))


def check_reporter(driver: str | None, value: Any, path: tuple[Any, ...], warn: Warn) -> None:
    """Refuse a reporter that its driver does not take."""
    shape = _REPORTERS.get(driver or "")
    if shape is not None and value is not None:
        _check(shape, value, path, f"reporter of {driver}")
