"""A small world for the planner: regions that die and come back, servers, builds and probes, on a clock of its own.

It plays the pool, the executor and the probes against the real `step`, and checks the laws after every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from trunkline import fleet
from trunkline.fleet import Health, InstanceState, RegionHealth
from trunkline.fleet.judge import is_serving
from trunkline.fleet.placement import forbidden
from trunkline.fleet.step import forget, step

LABEL = "ubuntu"
CHECK = fleet.HealthCheck(port=80, path="/healthz", interval_s=5, fail_after=3, pass_after=2)


def region(provider: str, vendor: str, city: str, jurisdiction: str, **more: Any) -> fleet.RegionView:
    return fleet.RegionView(
        cloud=vendor, region=city, provider=provider, vendor=vendor, city=city, jurisdiction=jurisdiction, **more
    )


LONDON = region("lon", "rack", "London", "GB", headroom=20)
PARIS = region("par", "ovh", "Paris", "EU", headroom=20)
STOCKHOLM = region("sto", "cleura", "Stockholm", "EU", headroom=20)
DALLAS = region("dfw", "lime", "Dallas", "US", headroom=20)
FOUR = (LONDON, PARIS, STOCKHOLM, DALLAS)


def application(**more: Any) -> fleet.Application:
    usual: dict[str, Any] = {
        "name": "shop",
        "label": LABEL,
        "instances": 4,
        "deploy": fleet.Deploy("deploy-shop", "shop"),
        "placement": fleet.Placement(jurisdictions=("EU", "GB"), near=(fleet.Near("London"),), spread_providers=2),
        "health": (CHECK,),
        "dns": fleet.Dns("shop.example.com", "www", 30),
        "update": fleet.Update(max_parallel=1, min_healthy_time_s=10, healthy_deadline_s=120),
        "failover": fleet.Failover(detect_s=30, cooldown_s=600, max_moving=0.5),
    }
    return fleet.Application(**{**usual, **more})


@dataclass
class Server:
    provider: str
    exists: bool = True
    commit: str | None = None
    sick: bool = False


@dataclass
class World:
    """Time advances in ticks of `tick_s`; servers boot in `boot_s`, builds take `build_s`."""

    regions: dict[str, fleet.RegionView]
    state: fleet.AppState
    now: float = 10_000.0
    tick_s: float = 5.0
    boot_s: float = 20.0
    build_s: float = 10.0
    servers: dict[str, Server] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    bad_commits: set[str] = field(default_factory=set)
    broken_builds: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    due: list[tuple[float, fleet.Event]] = field(default_factory=list)
    streaks: dict[tuple[str, str], fleet.Streak] = field(default_factory=dict)
    plans: list[fleet.Plan] = field(default_factory=list)
    log: list[fleet.Action] = field(default_factory=list)
    inbox: list[fleet.Event] = field(default_factory=list)
    requests: int = 0

    # What a test says

    def land(self, commit: str, app: fleet.Application | str | None = "same") -> None:
        wanted = self.state.application if isinstance(app, str) else app
        self.inbox.append(fleet.Landed("h/shop", "main", commit, wanted))

    def kill(self, provider: str) -> None:
        """API and servers vanish."""
        self.dead.add(provider)
        self._set(provider, RegionHealth.DOWN)

    def cut_api(self, provider: str) -> None:
        """Only its API stops answering; the servers go on."""
        self._set(provider, RegionHealth.DOWN)

    def revive(self, provider: str) -> None:
        self.dead.discard(provider)
        self._set(provider, RegionHealth.HEALTHY)

    def _set(self, provider: str, health: RegionHealth) -> None:
        if self.regions[provider].health is not health:
            self.regions[provider] = replace(self.regions[provider], health=health, since=self.now)

    # What tests ask

    def live(self) -> list[fleet.Instance]:
        return [i for i in self.state.instances if i.state not in (InstanceState.DELETING, InstanceState.GONE)]

    def serving(self) -> list[fleet.Instance]:
        return [i for i in self.state.instances if is_serving(i) and self.answers(i.id)]

    def answers(self, instance: str) -> bool:
        server = self.servers.get(instance)
        return (
            server is not None
            and server.exists
            and server.provider not in self.dead
            and server.commit is not None
            and server.commit not in self.bad_commits
            and not server.sick
        )

    @property
    def status(self) -> fleet.Status:
        return self.plans[-1].status

    # The clock

    def run(self, seconds: float) -> World:
        end = self.now + seconds
        while self.now < end:
            self.tick()
        return self

    def until(self, what: Any, within: float = 3600.0) -> World:
        end = self.now + within
        while not what():
            assert self.now < end, (self.status, self.state.instances)
            self.tick()
        return self

    def settle(self, within: float = 7200.0) -> World:
        """Until nothing was asked or expected for more than a cooldown; the planner must come to rest (law F8)."""
        end, quiet = self.now + within, 0.0
        while quiet < max(360, self.state.application.failover.cooldown_s + 60):
            assert self.now < end, ("does not settle", self.status, self.log[-20:])
            quiet = 0.0 if self.tick() or self.due or self.inbox else quiet + self.tick_s
        return self

    def tick(self) -> tuple[fleet.Action, ...]:
        self.now += self.tick_s
        self._probe()
        ready = [event for at, event in self.due if at <= self.now]
        self.due = [(at, event) for at, event in self.due if at > self.now]
        events = [*self.inbox, *(e for e in ready if self._comes_true(e))]
        self.inbox = []
        seen = self.seen()
        before = self.state
        self.state, plan = step(self.state, events, seen, self.now)
        again, twice = step(self.state, (), seen, self.now)
        assert not twice.actions, ("planning twice asks twice", twice.actions)
        assert again == self.state
        self._check_laws(before, plan)
        for action in plan.actions:
            self._do(action)
        self.state = forget(self._follow_up(self.state))
        self.plans.append(plan)
        self.log.extend(plan.actions)
        return plan.actions

    def seen(self) -> fleet.Seen:
        used: dict[str, int] = {}
        for server in self.servers.values():
            used[server.provider] = used.get(server.provider, 0) + server.exists
        regions = tuple(
            replace(r, headroom=None if r.headroom is None else max(r.headroom - used.get(r.provider, 0), 0))
            for r in self.regions.values()
        )
        streaks: dict[str, tuple[fleet.Streak, ...]] = {}
        for (instance, _), streak in sorted(self.streaks.items()):
            streaks[instance] = (*streaks.get(instance, ()), streak)
        gone = frozenset(
            i.id
            for i in self.state.instances
            if i.node and not self.servers[i.id].exists and self.regions[i.provider].health is not RegionHealth.DOWN
        )
        return fleet.Seen(regions, streaks, gone)

    def _probe(self) -> None:
        for i in self.state.instances:
            if i.commit is None:
                continue
            for vantage in ("east", "west"):
                ok = self.answers(i.id) and vantage not in self.blind
                old = self.streaks.get((i.id, vantage))
                if old is None or old.ok != ok:
                    self.streaks[i.id, vantage] = fleet.Streak(vantage, ok, 1, self.now, self.now)
                else:
                    self.streaks[i.id, vantage] = replace(old, count=old.count + 1, last=self.now)

    def _comes_true(self, event: fleet.Event) -> bool:
        match event:
            case fleet.NodeReady(request=request):
                instance = next((i for i in self.state.instances if i.request == request), None)
                if instance is None or instance.state is not InstanceState.REQUESTED:
                    return False  # the request was withdrawn before its server was there
                if instance.provider in self.dead:
                    self.due.append((self.now + self.boot_s, event))
                    return False
                self.servers[instance.id] = Server(instance.provider)
            case fleet.BuildCompleted(build=build, result="SUCCESS"):
                for i in self.state.instances:
                    if i.build == build and i.id in self.servers:
                        self.servers[i.id].commit = i.deploying
        return True

    def _do(self, action: fleet.Action) -> None:
        match action:
            case fleet.Place():
                self.requests += 1
                request = f"r{self.requests}"
                self.inbox.append(fleet.Asked(action.instance, request))
                answer: fleet.Event = fleet.NodeReady(request, f"n{self.requests}", f"10.0.0.{self.requests % 250}")
                if action.provider in self.refuses:
                    answer = fleet.NodeFailed(request, "quota")
                self.due.append((self.now + self.boot_s, answer))
            case fleet.DeployBatch():
                build = f"b-{action.deploy}"
                self.inbox.append(fleet.Submitted(action.deploy, build))
                lost = any(
                    i.provider in self.dead or (i.id in self.servers and not self.servers[i.id].exists)
                    for i in self.state.instances
                    if i.id in action.instances
                )
                bad = lost or action.commit in self.broken_builds
                self.due.append((self.now + self.build_s, fleet.BuildCompleted(build, "FAILURE" if bad else "SUCCESS")))

    def _follow_up(self, state: fleet.AppState) -> fleet.AppState:
        """The launcher: what is being deleted goes, once its region answers."""
        for i in state.instances:
            if i.state is InstanceState.DELETING and self.regions[i.provider].health is not RegionHealth.DOWN:
                if i.id in self.servers:
                    self.servers[i.id].exists = False
                self.inbox.append(fleet.NodeGone(i.id))
        return state

    # The laws, after every step

    def _check_laws(self, before: fleet.AppState, plan: fleet.Plan) -> None:
        app = self.state.application
        for action in plan.actions:
            if isinstance(action, fleet.Place):
                assert not forbidden(app, self.regions[action.provider]), ("F1", action)
        for i in self.live():
            assert not forbidden(app, i), ("F1", i)
            assert i.commit is None or i.commit in self.state.landed, ("F5", i)
            assert i.deploying is None or i.deploying in self.state.landed, ("F5", i)
        self._check_graceful(before, plan)

    def _check_graceful(self, before: fleet.AppState, plan: fleet.Plan) -> None:
        """F3: what served is taken away only if enough others serve, or the law or a landed file says so."""
        app = self.state.application
        after = [i for i in self.state.instances if is_serving(i)]
        for action in plan.actions:
            if not isinstance(action, fleet.Drain | fleet.Delete):
                continue
            old = next(i for i in self.state.instances if i.id == action.instance)
            was = next((i for i in before.instances if i.id == action.instance), None)
            if was is None or not is_serving(was) or old.health is not Health.HEALTHY or forbidden(app, old):
                continue
            wanted = 0 if self.state.retired else app.instances
            assert len(after) >= wanted, ("F3", action, plan)


def world(app: fleet.Application | None = None, regions: tuple[fleet.RegionView, ...] = FOUR, **more: Any) -> World:
    app = app or application()
    return World({r.provider: r for r in regions}, fleet.AppState("acme", app), **more)


def running(app: fleet.Application | None = None, regions: tuple[fleet.RegionView, ...] = FOUR, **more: Any) -> World:
    """A world in which commit c1 has landed and runs everywhere."""
    it = world(app, regions, **more)
    it.land("c1")
    return it.settle()
