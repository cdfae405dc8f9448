"""Which changes enter which queue, in which order, or why not. Pure: a question about values, answered with values.

Order of the questions (specification §2): is it there already, does it meet the requirements, what does it need
(transitively; cycles become bundles where the queue allows them), are those ready, does it fit, and in a dependent
pipeline: who waits for it. What it removes (older patch sets, other pipelines) comes first in the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from trunkline.gate.cycles import components, needs_of
from trunkline.gate.events import AnyEvent, Dequeue, DequeueReason, Enqueue, Supersede
from trunkline.gate.model import Change, ItemId, ItemSpec, Manager, Queue, QueueId, RefKey, Struct, stable_id


class Candidate(Struct, frozen=True):
    """A change as the admission must know it. What is needed and has no candidate counts as unknown."""

    change: Change
    needs: tuple[RefKey, ...] = ()  # direct: git parents, Depends-On, whole-topic submission; merged ones may be listed
    needed_by: tuple[RefKey, ...] = ()  # known open changes that need it
    topic: str | None = None
    is_open: bool = True
    is_merged: bool = False
    is_current: bool = True  # the latest patch set
    problem: str = ""  # why it does not meet the pipeline's requirements; empty = it does
    landing_problem: str = ""  # why the review system would not let it land, votes of this pipeline aside
    queue: str = ""  # the shared queue of its project, "/branch" appended if it is one per branch; empty = its own
    branch_of_queue: str | None = None  # of a queue per branch
    allow_cycles: bool = False
    topic_binds: bool = False  # the queue's dependencies-by-topic
    in_pipeline: bool = True  # its project has this pipeline


class PipelineRules(Struct, frozen=True):
    tenant: str
    name: str
    manager: Manager
    ignore_dependencies: bool = False
    dequeue_on_new_patchset: bool = True
    supercedes: tuple[str, ...] = ()
    max_dependencies: int | None = None
    max_changes: int | None = None
    changes_now: int = 0  # in the whole pipeline


class Presence(Struct, frozen=True):
    """Where a change stands now."""

    pipeline: str
    queue: QueueId
    item: ItemId
    live: bool = True


class Entry(Struct, frozen=True):
    """One event for one queue. The queue is created if it does not exist, with this name and branch."""

    queue: QueueId
    event: AnyEvent
    name: str = ""
    branch: str | None = None


class Admission(Struct, frozen=True):
    """What follows: `entries` in order (removals first); or a refusal, said to the reporters unless `silent`."""

    entries: tuple[Entry, ...] = ()
    refusal: str = ""
    silent: bool = True
    admitted: tuple[ItemSpec, ...] = ()


Bundle = tuple[RefKey, ...]
Present = Mapping[RefKey, tuple[Presence, ...]]


class Refused(Exception):
    """Not admitted, and why."""

    def __init__(self, text: str, *, silent: bool = True) -> None:
        super().__init__(text)
        self.silent = silent


def admit(
    wanted: RefKey,
    candidates: Mapping[RefKey, Candidate],
    rules: PipelineRules,
    present: Present,
    *,
    event_id: str = "",
    now: float = 0.0,
    relative_priority: int = 0,
    quiet: bool = False,
) -> Admission:
    """Decide on one wanted change.

    `present` says where changes (of any patch set, by key) stand in this tenant; what no rule asks for may be absent.
    A silent refusal is for the log and `explain`: the change may come back once what it needs is ready.
    """
    clerk = _Clerk(candidates, rules, present)
    try:
        chosen = clerk.admit(wanted)
    except Refused as refused:
        return Admission(refusal=str(refused), silent=refused.silent)
    own = clerk.bundle_of(wanted)
    queue = clerk.queue_of(wanted, stable_id(event_id, rules.tenant, rules.name, *own))
    specs = tuple(
        ItemSpec(
            ItemId(stable_id(event_id, rules.tenant, rules.name, *bundle)),
            tuple(clerk.change(key) for key in bundle),
            live=live,
            event_id=event_id,
            enqueued_at=now,
            relative_priority=relative_priority,
            quiet=quiet,
        )
        for bundle, live in chosen
    )
    name, branch = clerk.name_of(wanted)
    entering = [Entry(queue, Enqueue(spec), name, branch) for spec in specs]
    return Admission((*clerk.removals(specs), *entering), admitted=specs)


class _Clerk:
    """One decision: the tables it looks into."""

    def __init__(self, candidates: Mapping[RefKey, Candidate], rules: PipelineRules, present: Present) -> None:
        self.candidates = candidates
        self.rules = rules
        self.present = present
        self.dependent = rules.manager is Manager.DEPENDENT
        alone = rules.manager in (Manager.SERIAL, Manager.SUPERCEDENT)
        self.alone = alone or (rules.ignore_dependencies and not self.dependent)
        self.bundles: dict[RefKey, Bundle] = {}

    # -- the questions, in order

    def admit(self, wanted: RefKey) -> list[tuple[Bundle, bool]]:
        """(bundle, live) in the order of entering."""
        candidate = self.candidates.get(wanted)
        if candidate is None:
            raise Refused(f"{wanted} is not known.")
        if not candidate.in_pipeline:
            raise Refused(f"{candidate.change.project} has no jobs in {self.rules.name}.")
        chain = self.chain(wanted)
        own = chain[-1]
        if self.is_here(own):
            raise Refused(f"{_title(candidate)} is already in {self.rules.name}.")
        for key in own:
            self.check_itself(key)
        ahead = [bundle for bundle in chain[:-1] if not (self.dependent and self.is_here(bundle))]
        for key in (key for bundle in chain[:-1] for key in bundle) if self.dependent else ():
            self.check_same_queue(candidate, key)
        for bundle in ahead if self.dependent else ():
            for key in bundle:
                self.check_needed(candidate, key)
        entering = [*ahead, own]
        live = [self.dependent or bundle == own for bundle in entering]
        if self.dependent:
            behind = self.behind(entering)
            entering += behind
            live += [True] * len(behind)
        self.check_room(entering)
        return list(zip(entering, live, strict=True))

    def check_itself(self, key: RefKey) -> None:
        candidate = self.candidates[key]
        if self.dependent and not candidate.is_open:
            raise Refused(f"{_title(candidate)} is not open.")
        if self.dependent and not candidate.is_current:
            raise Refused(f"{_title(candidate)} is not the latest patch set.")
        if candidate.problem:
            raise Refused(
                f"{_title(candidate)} does not meet the requirements of {self.rules.name}: {candidate.problem}"
            )
        if self.dependent and candidate.landing_problem:
            raise Refused(f"{_title(candidate)} could not land: {candidate.landing_problem}")

    def check_same_queue(self, wanted: Candidate, key: RefKey) -> None:
        needed = self.candidates[key]
        if not needed.in_pipeline or self.name_of(key) != self.name_of(wanted.change.key):
            raise Refused(f"{_title(needed)} does not share a change queue with {_title(wanted)}.", silent=False)

    def check_needed(self, wanted: Candidate, key: RefKey) -> None:
        """Something that it needs, outside its own cycle, in a pipeline that lands."""
        needed = self.candidates[key]
        needs = f"{_title(wanted)} needs {_title(needed)}"
        if not needed.is_open:
            raise Refused(f"{needs}, which is closed and has not landed.")
        if not needed.is_current:
            raise Refused(f"{needs}, which is not the latest patch set.")
        why = needed.problem or needed.landing_problem
        if why:
            raise Refused(f"{needs}, which is not ready: {why}")

    def check_room(self, entering: Iterable[Bundle]) -> None:
        limit = self.rules.max_changes
        new = sum(len(bundle) for bundle in entering)
        if limit is not None and self.rules.changes_now + new > limit:
            text = f"{new} additional changes would exceed the limit of {limit} changes for {self.rules.name}."
            raise Refused(text, silent=False)

    # -- dependencies

    def chain(self, wanted: RefKey) -> list[Bundle]:
        """What it needs and has not landed, needs first; its own bundle last."""
        if self.alone:
            self.bundles[wanted] = (wanted,)
            return [(wanted,)]
        chain = components(wanted, self.needs)
        own_size = len(chain[-1])
        limit = self.rules.max_dependencies
        if limit is not None and sum(map(len, chain)) - own_size > limit:
            raise Refused(f"{wanted} needs more changes than the tenant allows ({limit}).")
        for bundle in chain:
            bundle = self.in_order(bundle)
            if len(bundle) > 1:
                self.check_cycle(bundle)
            for key in bundle:
                self.bundles[key] = bundle
        return [self.bundles[bundle[0]] for bundle in chain]

    def in_order(self, bundle: Bundle) -> Bundle:
        """Inside a cycle order means nothing; git parents still come before their children where they can."""
        rank = {key: position for position, key in enumerate(self.candidates)}
        return tuple(sorted(bundle, key=lambda key: (rank[key], key)))

    def check_cycle(self, bundle: Bundle) -> None:
        forbidding = [self.candidates[key] for key in bundle if not self.candidates[key].allow_cycles]
        if forbidding:
            titles = ", ".join(_title(self.candidates[key]) for key in bundle)
            raise Refused(
                f"Dependency cycle detected: {titles}. The queue of {forbidding[0].change.project} does not allow "
                "circular dependencies.",
                silent=False,
            )
        if self.dependent and len({self.name_of(key) for key in bundle}) > 1:
            titles = ", ".join(_title(self.candidates[key]) for key in bundle)
            raise Refused(f"Dependency cycle detected over different queues: {titles}.", silent=False)

    def needs(self, key: RefKey) -> tuple[RefKey, ...]:
        candidate = self.candidates.get(key)
        if candidate is None:
            raise Refused(f"Something needed is not known: {key}.")
        missing = [need for need in candidate.needs if need not in self.candidates]
        if missing:
            raise Refused(f"{_title(candidate)} needs {missing[0]}, which is not known.")
        return needs_of(key, self.candidates)

    def behind(self, entering: list[Bundle]) -> list[Bundle]:
        """Changes that need those that enter, are ready, and whose other needs are here or enter too."""
        entered = {key for bundle in entering for key in bundle}
        found: list[Bundle] = []
        frontier = [key for bundle in entering for key in bundle]
        while frontier:
            for key in self.candidates[frontier.pop(0)].needed_by:
                if key in entered or key not in self.candidates:
                    continue
                bundle = self.follower(key, entered)
                if bundle is not None:
                    found.append(bundle)
                    entered.update(bundle)
                    frontier += bundle
        return found

    def follower(self, key: RefKey, entered: set[RefKey]) -> Bundle | None:
        candidate = self.candidates[key]
        try:
            chain = self.chain(key)
            for member in chain[-1]:
                self.check_itself(member)
        except Refused:
            return None
        ready = all(set(bundle) <= entered or self.is_here(bundle) for bundle in chain[:-1])
        same = any(self.name_of(key) == self.name_of(other) for other in entered)
        if not ready or not same or not candidate.in_pipeline or self.is_here(chain[-1]):
            return None
        return chain[-1]

    # -- where things are

    def bundle_of(self, key: RefKey) -> Bundle:
        return self.bundles[key]

    def is_here(self, bundle: Bundle) -> bool:
        """Live in this pipeline, as this very bundle."""
        items = {
            frozenset(p.item for p in self.present.get(key, ()) if p.pipeline == self.rules.name and p.live)
            for key in bundle
        }
        return len(items) == 1 and bool(next(iter(items)))

    def change(self, key: RefKey) -> Change:
        """The change with the needs that count for its queue: those that have not landed."""
        change = self.candidates[key].change
        needs = () if self.alone else needs_of(key, self.candidates)
        return replace(change, needs=needs)

    def name_of(self, key: RefKey) -> tuple[str, str | None]:
        """Name and branch of the queue."""
        candidate = self.candidates[key]
        change = candidate.change
        match self.rules.manager:
            case Manager.SUPERCEDENT:
                return change.project, change.branch
            case Manager.INDEPENDENT:
                return change.project, None
        branch = candidate.branch_of_queue
        name = candidate.queue or change.project
        return name.removesuffix(f"/{branch}") if branch else name, branch

    def queue_of(self, key: RefKey, item: str) -> QueueId:
        name, branch = self.name_of(key)
        change = self.candidates[key].change
        match self.rules.manager:
            case Manager.INDEPENDENT:
                parts: tuple[str | None, ...] = (item,)
            case Manager.SUPERCEDENT:
                parts = (name, change.ref or branch)
            case _:
                parts = (name, branch)
        return QueueId("/".join([self.rules.tenant, self.rules.name, *(part for part in parts if part)]))

    def removals(self, specs: tuple[ItemSpec, ...]) -> list[Entry]:
        """Older patch sets here, and the change itself in pipelines that this one supersedes."""
        found: list[Entry] = []
        for change in (change for spec in specs if spec.live for change in spec.changes):
            for presence in self.present.get(change.key, ()):
                if presence.pipeline in self.rules.supercedes and presence.live:
                    event = Dequeue(change=change.key, reason=DequeueReason.SUPERSEDED)
                    found.append(Entry(presence.queue, event))
            found += self.older(change)
        return found

    def older(self, change: Change) -> list[Entry]:
        if change.patchset is None or not self.rules.dequeue_on_new_patchset:
            return []
        line = _line(change.key)
        return [
            Entry(presence.queue, Supersede(key, change.patchset))
            for key, presences in self.present.items()
            if _line(key) == line and _patchset(key) < int(change.patchset)
            for presence in presences
            if presence.pipeline == self.rules.name and presence.live
        ]


def outdated(change: Change, present: Present, pipelines: Iterable[PipelineRules]) -> tuple[Entry, ...]:
    """What a new patch set puts out, in all pipelines that want so, whether or not it enters any."""
    found: list[Entry] = []
    for rules in pipelines:
        found += _Clerk({}, rules, present).older(change)
    return tuple(found)


def presence_of(queues: Iterable[Queue]) -> dict[RefKey, tuple[Presence, ...]]:
    """Where every change of these queues stands."""
    found: dict[RefKey, tuple[Presence, ...]] = {}
    for queue in queues:
        for key, item_id in queue.changes.items():
            place = Presence(queue.settings.pipeline, queue.id, item_id, queue.items[item_id].live)
            found[key] = (*found.get(key, ()), place)
    return found


def _line(key: RefKey) -> str:
    """A key without its patch set."""
    return key.rpartition(",")[0]


def _patchset(key: RefKey) -> int:
    last = key.rpartition(",")[2]
    return int(last) if last.isdigit() else 0


def _title(candidate: Candidate) -> str:
    change = candidate.change
    name = f"{change.project} {change.number},{change.patchset}" if change.number else change.key
    return f"{name} ({change.url})" if change.url else name
