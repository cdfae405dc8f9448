"""Which branch matcher a variant or stanza has: what is written, else what its place implies."""

from __future__ import annotations

import msgspec

from trunkline.config.definitions import JobDef, Pragma, ProjectDef
from trunkline.config.regex import Regex, matches_any
from trunkline.config.source import RefKind, Subject


class Matcher(msgspec.Struct, frozen=True):
    """A branch matcher. `exact` is an implied branch name; `implied` regexes come from a pragma."""

    regexes: tuple[Regex, ...] = ()
    exact: str | None = None
    implied: bool = False

    def matches_branch(self, branch: str) -> bool:
        if self.exact is not None:
            return branch == self.exact
        return matches_any(self.regexes, branch)

    def matches(self, subject: Subject) -> bool:
        if subject.kind in (RefKind.CHANGE, RefKind.BRANCH):
            return subject.branch is not None and self.matches_branch(subject.branch)
        if subject.kind is RefKind.TAG:
            if any(self.matches_branch(b) for b in subject.containing_branches):
                return True
            return not self.is_implied and matches_any(self.regexes, subject.ref)
        return not self.is_implied and matches_any(self.regexes, subject.ref)

    @property
    def is_implied(self) -> bool:
        return self.implied or self.exact is not None

    def __str__(self) -> str:
        return self.exact if self.exact is not None else ", ".join(map(str, self.regexes))


class Origin(msgspec.Struct, frozen=True):
    """What the rules must know of the project that a definition lies in."""

    trusted: bool
    branch_count: int
    has_dynamic_branches: bool
    implied_option: bool | None


def _implied(pragma: Pragma, branch: str) -> Matcher:
    if pragma.implied_branches:
        return Matcher(pragma.implied_branches, implied=True)
    return Matcher(exact=branch)


def job_matcher(job: JobDef, origin: Origin) -> Matcher | None:
    """The matcher of a job variant, None if it matches everything."""
    if job.branches:
        return Matcher(job.branches)
    if job.in_project:
        return None
    wanted = job.pragma.implied_branch_matchers
    if wanted is None:
        wanted = origin.implied_option
    if wanted is not None:
        return _implied(job.pragma, job.source.branch) if wanted else None
    if origin.trusted:
        return None
    if not origin.has_dynamic_branches and origin.branch_count == 1:
        return None
    return _implied(job.pragma, job.source.branch)


def stanza_matcher(stanza: ProjectDef, origin: Origin, configures_itself: bool) -> Matcher | None:
    """The matcher of a project stanza or template, None if it matches everything."""
    if stanza.branches:
        return Matcher(stanza.branches)
    if configures_itself and not stanza.is_template:
        return None if origin.trusted else Matcher(exact=stanza.source.branch)
    wanted = stanza.pragma.implied_branch_matchers
    if wanted is not None:
        return _implied(stanza.pragma, stanza.source.branch) if wanted else None
    if origin.trusted:
        return None
    if not origin.has_dynamic_branches and origin.branch_count == 1:
        return None
    return _implied(stanza.pragma, stanza.source.branch)
