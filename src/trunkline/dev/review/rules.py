"""What may be done by whom, and what a change needs: the site's fixed constitution. Pure.

It is the one that Zuul installations have: labels Code-Review, Verified and Workflow, each with a submit requirement;
core reviewers approve, service users verify and submit, administrators may do everything.
"""

import msgspec

from trunkline.dev.review.model import Change, Vote

ADMINISTRATORS, SERVICE_USERS, CORE = "Administrators", "Service Users", "core"
REGISTERED = "Registered Users"


class Label(msgspec.Struct, frozen=True):
    """`ranges`: (lowest, highest) by group. `kept_by`: kinds of new patch sets that keep a vote."""

    name: str
    values: dict[int, str]
    ranges: dict[str, tuple[int, int]]
    kept_by: frozenset[str]
    copy_condition: str
    keeps_minimum: bool = False

    @property
    def minimum(self) -> int:
        return min(self.values)

    @property
    def maximum(self) -> int:
        return max(self.values)


LABELS: dict[str, Label] = {
    label.name: label
    for label in (
        Label(
            "Code-Review",
            {
                -2: "This shall not be submitted",
                -1: "I would prefer this is not submitted as is",
                0: "No score",
                1: "Looks good to me, but someone else must approve",
                2: "Looks good to me, approved",
            },
            {ADMINISTRATORS: (-2, 2), CORE: (-2, 2), REGISTERED: (-1, 1)},
            frozenset({"NO_CHANGE", "TRIVIAL_REBASE"}),
            "changekind:NO_CHANGE OR changekind:TRIVIAL_REBASE OR is:MIN",
            keeps_minimum=True,
        ),
        Label(
            "Verified",
            {
                -2: "Fails in the gate",
                -1: "Does not pass in check",
                0: "No score",
                1: "Passes check",
                2: "Passed the gate",
            },
            {ADMINISTRATORS: (-2, 2), SERVICE_USERS: (-2, 2)},
            frozenset({"NO_CHANGE", "NO_CODE_CHANGE"}),
            "changekind:NO_CODE_CHANGE",
        ),
        Label(
            "Workflow",
            {-1: "Work in progress", 0: "Ready for reviews", 1: "Approved"},
            {CORE: (-1, 1), REGISTERED: (-1, 0)},
            frozenset({"NO_CHANGE", "NO_CODE_CHANGE"}),
            "changekind:NO_CODE_CHANGE",
        ),
    )
}
EVENT_ORDER = ("Verified", "Code-Review", "Workflow")
"""Gerrit's order of labels in comment-added."""

_ALLOWED: dict[str, frozenset[str]] = {
    "submit": frozenset({ADMINISTRATORS, SERVICE_USERS}),
    "submit on push": frozenset({ADMINISTRATORS}),
    "push": frozenset({ADMINISTRATORS}),
    "force push": frozenset({ADMINISTRATORS}),
    "create branch": frozenset({ADMINISTRATORS, CORE}),
    "delete branch": frozenset({ADMINISTRATORS}),
    "create tag": frozenset({ADMINISTRATORS, SERVICE_USERS}),
    "delete tag": frozenset({ADMINISTRATORS}),
    "abandon": frozenset({ADMINISTRATORS, CORE}),
    "rebase": frozenset({ADMINISTRATORS, CORE}),
    "edit topic name": frozenset({ADMINISTRATORS, CORE}),
    "edit hashtags": frozenset({ADMINISTRATORS}),
    "forge committer": frozenset({ADMINISTRATORS}),
    "stream events": frozenset({ADMINISTRATORS, SERVICE_USERS}),
    "administrate": frozenset({ADMINISTRATORS}),
    "remove reviewer": frozenset({ADMINISTRATORS}),
    "toggle wip": frozenset({ADMINISTRATORS}),
    "see private": frozenset({ADMINISTRATORS}),
}


def may(groups: frozenset[str], what: str) -> bool:
    return bool(groups & _ALLOWED[what])


def voting_range(groups: frozenset[str], label: Label) -> tuple[int, int] | None:
    """The lowest and highest vote that members of the groups may give, or None. Everybody is a registered user."""
    given = [label.ranges[group] for group in (groups | {REGISTERED}) if group in label.ranges]
    if not given:
        return None
    return min(low for low, _ in given), max(high for _, high in given)


class Requirement(msgspec.Struct, frozen=True):
    name: str
    description: str
    expression: str
    status: str
    passing: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    is_conditional: bool = False


_NEEDED = (
    ("Workflow", "A core reviewer approved"),
    ("Code-Review", "Changes must have at least one MAX Code-Review vote and no MIN to be submittable."),
    ("Verified", "The gate passed"),
)


def requirements(change: Change) -> list[Requirement]:
    """The submit requirements of a change, as they stand."""
    found = [_label_requirement(change, LABELS[name], description) for name, description in _NEEDED]
    unresolved = has_unresolved(change)
    status = "FORCED" if change.is_forced and unresolved else "UNSATISFIED" if unresolved else "NOT_APPLICABLE"
    text = "Changes that have unresolved comments are not submittable."
    found.append(Requirement("No-Unresolved-Comments", text, "-has:unresolved", status, is_conditional=True))
    return found


def _label_requirement(change: Change, label: Label, description: str) -> Requirement:
    values = [vote.value for vote in change.votes if vote.label == label.name and not vote.is_post_submit]
    best, worst = f"label:{label.name}=MAX", f"label:{label.name}=MIN"
    holds = {best: label.maximum in values, worst: label.minimum in values}
    satisfied = holds[best] and not holds[worst]
    return Requirement(
        name=label.name,
        description=description,
        expression=f"{best} AND -{worst}",
        status="SATISFIED" if satisfied else "FORCED" if change.is_forced else "UNSATISFIED",
        passing=tuple(atom for atom, hit in holds.items() if hit),
        failing=tuple(atom for atom, hit in holds.items() if not hit),
    )


def unmet(change: Change) -> list[str]:
    """Names of the requirements that keep the change from landing, in Gerrit's order of telling them."""
    return [requirement.name for requirement in requirements(change) if requirement.status == "UNSATISFIED"]


def has_unresolved(change: Change) -> bool:
    """Whether a thread of comments is open: its last comment says so."""
    answered = {comment.in_reply_to for comment in change.comments}
    return any(comment.is_unresolved and comment.id not in answered for comment in change.comments)


def kept_votes(votes: tuple[Vote, ...], kind: str, patchset: int) -> tuple[Vote, ...]:
    """The votes that a new patch set of this kind keeps."""
    return tuple(
        msgspec.structs.replace(vote, patchset=patchset)
        for vote in votes
        if vote.value
        and (
            kind in LABELS[vote.label].kept_by
            or (LABELS[vote.label].keeps_minimum and vote.value == LABELS[vote.label].minimum)
        )
    )
