"""Gerrit's triggers and requirements (Zuul configuration reference §7.1). Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trunkline.connections.model import Approval, ChangeInfo, SubmitRequirement, TriggerEvent
from trunkline.connections.patterns import any_found, any_matches, as_list

Config = Mapping[str, Any]

_AGE = re.compile(r"^\s*(\d+)\s*([wdhms]?)\s*$")
_AGE_UNITS_S = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1, "": 1}
_LABELS_IN_EXPRESSION = re.compile(r"label:\"?([A-Za-z0-9_-]+)")


def _first(config: Config, *names: str) -> Any:
    """The value of the first of these keys that is there (a key's present name, then its old ones)."""
    return next((config[name] for name in names if config.get(name) is not None), None)


def trigger_matches(trigger: Config, event: TriggerEvent, change: ChangeInfo | None, now: float) -> bool:
    return (
        any_matches(trigger.get("event"), event.type)
        and _place_matches(trigger, event)
        and _actor_matches(trigger, event)
        and _votes_match(trigger, event)
        and _words_match(trigger, event)
        and trigger.get("uuid") is None
        and trigger.get("scheme") is None
        and _change_matches(trigger, change, now)
    )


def _place_matches(trigger: Config, event: TriggerEvent) -> bool:
    if trigger.get("branch") is not None and not any_matches(trigger["branch"], event.branch):
        return False
    if trigger.get("ref") is not None and not any_matches(trigger["ref"], event.sent_ref or event.ref):
        return False
    return not (trigger.get("ignore-deletes", True) and event.is_delete)


def _actor_matches(trigger: Config, event: TriggerEvent) -> bool:
    account = event.account
    for key, old_key, value in (
        ("email", "email_filter", account.email if account else None),
        ("username", "username_filter", account.username if account else None),
    ):
        wanted = _first(trigger, key, old_key)
        if wanted is not None and not any_found(wanted, [value]):
            return False
    return True


def _votes_match(trigger: Config, event: TriggerEvent) -> bool:
    def wanted(key: str) -> list[tuple[str, int]]:
        return [(label, int(value)) for entry in as_list(trigger.get(key)) for label, value in entry.items()]

    given = {(vote.label, vote.value) for vote in event.approvals}
    changed = {(vote.label, vote.value) for vote in event.approvals if vote.old is not None and vote.old != vote.value}
    return given.issuperset(wanted("approval")) and changed.issuperset(wanted("approval-change"))


def _words_match(trigger: Config, event: TriggerEvent) -> bool:
    comment = _first(trigger, "comment", "comment_filter")
    if comment is not None and not any_found(comment, [event.comment, *event.patchset_comments]):
        return False
    for key, hashtags in (("added", event.added), ("removed", event.removed)):
        if trigger.get(key) is not None and not any_found(trigger[key], hashtags):
            return False
    return True


def _change_matches(trigger: Config, change: ChangeInfo | None, now: float) -> bool:
    require, reject = trigger.get("require"), trigger.get("reject")
    if require is None and reject is None:  # the deprecated forms count only where the present ones are absent
        require = {"approval": trigger["require-approval"]} if trigger.get("require-approval") else None
        reject = {"approval": trigger["reject-approval"]} if trigger.get("reject-approval") else None
    return requirement_problem(as_list(require), as_list(reject), change, now) is None


def requirement_problem(
    require: Sequence[Config], reject: Sequence[Config], change: ChangeInfo | None, now: float
) -> str | None:
    """Why the change does not meet all of `require`, or meets one of `reject`. Entries of another driver's kind are
    the caller's to leave out."""
    for wanted in require:
        if problem := _unmet(wanted, change, now):
            return problem
    for unwanted in reject:
        if problem := _met(unwanted, change, now):
            return problem
    return None


def _facts(change: ChangeInfo) -> dict[str, bool]:
    return {"open": change.is_open, "current-patchset": change.is_current_patchset, "wip": change.wip}


def _unmet(wanted: Config, change: ChangeInfo | None, now: float) -> str | None:
    for key in ("open", "current-patchset", "wip"):
        if wanted.get(key) is None:
            continue
        if change is None:
            return f"{key} is required, but this is a ref, not a change"
        if _facts(change)[key] != wanted[key]:
            return f"{key}: {_word(wanted[key])} is required, but it is {_word(not wanted[key])}"
    statuses = as_list(wanted.get("status"))
    if statuses and (change is None or change.status not in statuses):
        return f"status {' or '.join(statuses)} is required, but it is {change.status if change else 'a ref'}"
    for regex in as_list(wanted.get("hashtags")):
        if not any_found(regex, change.hashtags if change else ()):
            return f"a hashtag that matches {_shown(regex)} is required"
    for entry in as_list(wanted.get("approval")):
        if not any(_vote_fits(entry, vote, now) for vote in _votes(change)):
            return f"a vote {_shown(entry)} is required"
    return None


def _met(unwanted: Config, change: ChangeInfo | None, now: float) -> str | None:
    if change is None:
        return None
    for key in ("open", "current-patchset", "wip"):
        if unwanted.get(key) is not None and _facts(change)[key] == unwanted[key]:
            return f"{key}: {_word(unwanted[key])} is rejected"
    if change.status in as_list(unwanted.get("status")):
        return f"status {change.status} is rejected"
    for regex in as_list(unwanted.get("hashtags")):
        if any_found(regex, change.hashtags):
            return f"a hashtag that matches {_shown(regex)} is rejected"
    for entry in as_list(unwanted.get("approval")):
        if any(_vote_fits(entry, vote, now) for vote in _votes(change)):
            return f"a vote {_shown(entry)} is rejected"
    return None


def _votes(change: ChangeInfo | None) -> list[Approval]:
    return [vote for vote in change.approvals if vote.value != 0] if change else []


def _vote_fits(entry: Config, vote: Approval, now: float) -> bool:
    """Whether one vote is all that the entry asks for."""
    for key, value in entry.items():
        match key:
            case "username" | "username-filter":
                fits = any_found(value, [vote.by.username])
            case "email" | "email-filter":
                fits = any_found(value, [vote.by.email])
            case "older-than":
                fits = vote.granted_on < now - seconds(value)
            case "newer-than":
                fits = vote.granted_on >= now - seconds(value)
            case label:
                fits = vote.label == label and vote.value in {int(v) for v in as_list(value)}
        if not fits:
            return False
    return True


def seconds(age: str | int) -> int:
    """`3d`, `2h`, `90` (seconds)… in seconds."""
    found = _AGE.match(str(age))
    if not found:
        raise ValueError(f"not a time: {age!r}; write a number and one of w d h m s, for example 2d")
    return int(found[1]) * _AGE_UNITS_S[found[2]]


def merge_problem(change: ChangeInfo, labels: Collection[str]) -> str | None:
    """Why a pipeline whose success report sets `labels` could not land the change, or None.

    An unsatisfied requirement is no problem where it speaks of a label that the pipeline itself will set.
    """
    if change.is_merged:
        return None
    if not change.is_open:
        return f"the change is {change.status.lower()}"
    if change.wip:
        return "the change is work in progress"
    for label in change.missing_labels:
        if label not in labels:
            return f"the label {label} is missing"
    for requirement in change.submit_requirements:
        if not requirement.satisfied and not set(requirement.labels) & set(labels):
            return f"the submit requirement {requirement.name} is not satisfied"
    return None


def requirement(name: str, status: str, expression: str) -> SubmitRequirement:
    """A submit requirement of Gerrit's answer as ours."""
    satisfied = status in {"SATISFIED", "OVERRIDDEN", "NOT_APPLICABLE", "FORCED"}
    labels = tuple(dict.fromkeys(_LABELS_IN_EXPRESSION.findall(expression)))
    return SubmitRequirement(name=name, satisfied=satisfied, expression=expression, labels=labels)


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def _shown(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return " ".join(f"{key}: {value}" for key, value in entry.items())
    return repr(entry)
