"""Application files: text → applications, or errors that know their place.

A closed schema: a key of the format that is not built yet is refused by name as "not supported yet", an unknown key
is an error with the nearest known one. Nothing is ever ignored. One broken application takes no other one away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from trunkline.config.errors import ConfigError, Refused, did_you_mean, make_error
from trunkline.config.shape import kind_of
from trunkline.config.source import SourceContext
from trunkline.config.syntax import KEY, Item, locate, read_items

from .cities import CITIES, find
from .model import (
    LIVE_LIMIT,
    Application,
    Deploy,
    Dns,
    Failover,
    HealthCheck,
    Near,
    Only,
    Placement,
    Survive,
    Update,
)

PLACES: tuple[tuple[str, ...], ...] = (
    ("trunkline.yaml",),
    ("trunkline.d/",),
    (".trunkline.yaml",),
    (".trunkline.d/",),
)
"""Where application files may be in a project: the first of these that exists is read, no other."""

Path = tuple[Any, ...]
T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?")
_ZONE = re.compile(
    r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*", re.I
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS_S = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ABSENT: Any = object()


class Defined(msgspec.Struct, frozen=True):
    """An application and where it stands."""

    application: Application
    path: str
    line: int


class Read(msgspec.Struct, frozen=True):
    """What the files of a project say."""

    defined: tuple[Defined, ...]
    errors: tuple[ConfigError, ...]


def pick(existing: Iterable[str]) -> list[str]:
    """Of all paths in a project, those of its application files, in order."""
    paths = sorted(existing)
    for (place,) in PLACES:
        if place.endswith("/"):
            found = [p for p in paths if p.startswith(place) and p.endswith((".yaml", ".yml"))]
        else:
            found = [p for p in paths if p == place]
        if found:
            return found
    return []


def read(texts: Mapping[str, str], context: SourceContext) -> Read:
    """All applications of a project; ``texts`` maps each path of ``pick`` to what it holds."""
    defined: list[Defined] = []
    errors: list[ConfigError] = []
    for path in pick(texts):
        found = parse(texts[path], msgspec.structs.replace(context, path=path))
        errors.extend(found.errors)
        for one in found.defined:
            twin = next((d for d in defined if d.application.name == one.application.name), None)
            if twin is None:
                defined.append(one)
                continue
            short = f"application {one.application.name} is defined twice, first in {twin.path}:{twin.line}"
            at = locate(texts[path], ())
            place = msgspec.structs.replace(at, line=one.line, column=1, end_line=one.line) if at else None
            errors.append(make_error(msgspec.structs.replace(context, path=path), short, text=texts[path], at=place))
    return Read(tuple(defined), tuple(errors))


def parse(text: str, context: SourceContext) -> Read:
    """The applications of one file."""
    try:
        items, broken = read_items(text)
    except Refused as refused:
        items, broken = [], [refused]
    errors = [make_error(context, r.short, text=text, at=r.at, name=r.name, mend=r.mend) for r in broken]
    defined: list[Defined] = []
    for item in items:
        reader = _Reader(text, context)
        application = reader.application(item)
        errors.extend(reader.errors)
        if application is not None and not reader.errors:
            defined.append(Defined(application, context.path, item.line))
    return Read(tuple(defined), tuple(errors))


class _Map:
    """One map of the file: hands out each known key once, and refuses the rest by name."""

    def __init__(self, reader: _Reader, value: Any, path: Path, known: str, later: str = "") -> None:
        self.reader, self.path = reader, path
        self.known, later_keys = known.split(), later.split()
        self.values: dict[str, Any] = {}
        if not isinstance(value, dict):
            reader.error(path, f"{_said(path)} must be a map, it is {kind_of(value)}")
            return
        for key, part in value.items():
            name = "on" if key is True else str(key)  # YAML reads a bare `on` as true
            if name in self.known:
                self.values[name] = part
            elif name in later_keys:
                reader.later((*path, name), f"{name} in {_said(path)}")
            else:
                mend = did_you_mean(name, self.known) or f"Known keys are {', '.join(self.known)}."
                reader.error((*path, name, KEY), f'unknown key "{name}" in {_said(path)}', mend)

    def get(self, key: str, by: Callable[[Any, Path], T | None], default: T) -> T:
        value = self.values.get(key, _ABSENT)
        if value is _ABSENT:
            return default
        found = by(value, (*self.path, key))
        return default if found is None else found

    def require(self, key: str) -> None:
        if key not in self.values and isinstance(self.values, dict):
            self.reader.error(self.path, f"{_said(self.path)} has no {key}", f"Add `{key}: …`.")


class _Reader:
    """Reads one entry; collects every fault instead of stopping at the first."""

    def __init__(self, text: str, context: SourceContext) -> None:
        self.text, self.context = text, context
        self.errors: list[ConfigError] = []

    def error(self, path: Path, short: str, mend: str = "") -> None:
        at = locate(self.text, path)
        self.errors.append(make_error(self.context, short, text=self.text, at=at, mend=mend))

    def later(self, path: Path, what: str) -> None:
        self.error((*path, KEY), f"{what} is not supported yet", "Remove it: it would not be obeyed.")

    def application(self, item: Item) -> Application | None:
        path: Path = (item.index,)
        if item.kind != "application":
            mend = did_you_mean(str(item.kind), ["application"]) or "Application files hold `- application:` only."
            self.error((*path, item.kind, KEY), f'unknown kind "{item.kind}"', mend)
            return None
        body = _Map(
            self,
            item.body,
            (*path, "application"),
            "name instances label placement min-healthy deploy update health endpoints failover",
            "network volumes rehearse drain",
        )
        if not isinstance(item.body, dict):
            return None
        for key in ("name", "label", "deploy"):
            body.require(key)
        name = body.get("name", self.name, "")
        application = Application(
            name=name,
            label=body.get("label", self.text_value, ""),
            instances=body.get("instances", self.count, 1),
            deploy=body.get("deploy", lambda v, p: self.deploy(v, p, name), Deploy("", name)),
            placement=body.get("placement", self.placement, Placement()),
            min_healthy=body.get("min-healthy", self.whole, None),
            update=body.get("update", self.update, Update()),
            health=body.get("health", self.health, ()),
            dns=body.get("endpoints", self.endpoints, None),
            failover=body.get("failover", self.failover, Failover()),
        )
        self.agree(application, body)
        return application

    def agree(self, application: Application, body: _Map) -> None:
        """What no single key can know."""
        count = application.instances
        if application.min_healthy is not None and application.min_healthy > count:
            self.error((*body.path, "min-healthy"), f"min-healthy is more than the {count} instances")
        for kind in ("providers", "regions"):
            wanted = getattr(application.placement, f"spread_{kind}")
            if wanted > max(count, 1):
                self.error(
                    (*body.path, "placement", "spread", kind), f"{count} instances can not be in {wanted} {kind}"
                )

    def placement(self, value: Any, path: Path) -> Placement:
        part = _Map(self, value, path, "jurisdictions clouds regions near spread survive", "budget")
        spread_path = (*path, "spread")
        spread = _Map(self, part.values.get("spread", {}), spread_path, "providers regions")
        survive = part.get("survive", lambda v, p: self.one_of(v, p, [s.value for s in Survive]), "none")
        return Placement(
            jurisdictions=part.get("jurisdictions", self.jurisdictions, ()),
            clouds=part.get("clouds", self.only, Only()),
            regions=part.get("regions", self.only, Only()),
            near=part.get("near", self.near, ()),
            spread_providers=spread.get("providers", self.positive, 1),
            spread_regions=spread.get("regions", self.positive, 1),
            survive=Survive(survive),
        )

    def jurisdictions(self, value: Any, path: Path) -> tuple[str, ...] | None:
        if isinstance(value, list):
            value = ["NO" if word is False else word for word in value]  # YAML reads a bare NO as false
        words = self.words(value, path)
        for index, word in enumerate(words or ()):
            if not re.fullmatch(r"[A-Z]{2}", word):
                self.error((*path, index), f'"{word}" is not a jurisdiction', "Use EU or a two-letter country code.")
        return words

    def only(self, value: Any, path: Path) -> Only:
        part = _Map(self, value, path, "only never")
        return Only(part.get("only", self.words, ()), part.get("never", self.words, ()))

    def near(self, value: Any, path: Path) -> tuple[Near, ...] | None:
        if not isinstance(value, list):
            self.wrong(path, "a list of maps with a city", value)
            return None
        return tuple(self.city(one, (*path, index)) for index, one in enumerate(value))

    def city(self, value: Any, path: Path) -> Near:
        part = _Map(self, value, path, "city weight")
        if isinstance(value, dict):
            part.require("city")
        city = part.get("city", self.text_value, "")
        if city and find(city) is None:
            mend = did_you_mean(city, CITIES) or "Name a large city nearby."
            self.error((*path, "city"), f'the city "{city}" is not known', mend)
        return Near(city, part.get("weight", self.amount, 1.0))

    def deploy(self, value: Any, path: Path, name: str) -> Deploy:
        part = _Map(self, value, path, "job on")
        if isinstance(value, dict):
            part.require("job")
        part.get("on", lambda v, p: self.one_of(v, p, ["landed"]), "landed")
        return Deploy(part.get("job", self.text_value, ""), name)

    def update(self, value: Any, path: Path) -> Update:
        later = "canary auto-promote progress-deadline auto-revert order replace"
        part = _Map(self, value, path, "max-parallel min-healthy-time healthy-deadline", later)
        usual = Update()
        return Update(
            max_parallel=part.get("max-parallel", self.positive, usual.max_parallel),
            min_healthy_time_s=part.get("min-healthy-time", self.seconds, usual.min_healthy_time_s),
            healthy_deadline_s=part.get("healthy-deadline", self.seconds, usual.healthy_deadline_s),
        )

    def health(self, value: Any, path: Path) -> tuple[HealthCheck, ...] | None:
        if not isinstance(value, list):
            self.wrong(path, "a list of checks", value)
            return None
        return tuple(self.check(one, (*path, index)) for index, one in enumerate(value))

    def check(self, value: Any, path: Path) -> HealthCheck:
        part = _Map(self, value, path, "http interval timeout fail-after pass-after", "tcp ssh command")
        http = _Map(self, part.values.get("http", {}), (*path, "http"), "port path expect")
        usual = HealthCheck()
        return HealthCheck(
            port=http.get("port", lambda v, p: self.whole(v, p, 1, 65535), usual.port),
            path=http.get("path", self.url_path, usual.path),
            expect=http.get("expect", lambda v, p: self.whole(v, p, 100, 599), usual.expect),
            interval_s=part.get("interval", self.seconds, usual.interval_s),
            timeout_s=part.get("timeout", self.seconds, usual.timeout_s),
            fail_after=part.get("fail-after", self.positive, usual.fail_after),
            pass_after=part.get("pass-after", self.positive, usual.pass_after),
        )

    def endpoints(self, value: Any, path: Path) -> Dns | None:
        part = _Map(self, value, path, "dns policy")
        policy = part.values.get("policy", "all")
        if policy in ("near", "weighted"):
            self.later((*path, "policy"), f"policy: {policy}")
        else:
            part.get("policy", lambda v, p: self.one_of(v, p, ["all", "near", "weighted"]), "all")
        return part.get("dns", self.dns, None)

    def dns(self, value: Any, path: Path) -> Dns:
        part = _Map(self, value, path, "zone name ttl")
        if isinstance(value, dict):
            part.require("zone")
        zone = part.get("zone", self.domain, "")
        name = part.get("name", lambda v, p: "@" if v == "@" else self.domain(v, p), "@")
        return Dns(zone, name, round(part.get("ttl", self.seconds, 30.0)))

    def failover(self, value: Any, path: Path) -> Failover:
        part = _Map(self, value, path, "detect cooldown max-moving", "replace-within fence fence-after")
        usual = Failover()
        return Failover(
            detect_s=part.get("detect", self.seconds, usual.detect_s),
            cooldown_s=part.get("cooldown", self.seconds, usual.cooldown_s),
            max_moving=part.get("max-moving", self.share, usual.max_moving),
        )

    # Scalars: each gives the value, or None after an error.

    def wrong(self, path: Path, wanted: str, value: Any) -> None:
        self.error(path, f"{_said(path)} must be {wanted}, it is {kind_of(value)}")

    def text_value(self, value: Any, path: Path) -> str | None:
        if isinstance(value, str) and value:
            return value
        self.wrong(path, "a string", value)
        return None

    def name(self, value: Any, path: Path) -> str | None:
        if isinstance(value, str) and _NAME.fullmatch(value):
            return value
        self.error(path, f"{value!r} can not name an application", "Use up to 42 of a-z, 0-9 and -.")
        return None

    def domain(self, value: Any, path: Path) -> str | None:
        if isinstance(value, str) and _ZONE.fullmatch(value.rstrip(".")):
            return value.rstrip(".").lower()
        self.error(path, f"{value!r} is not a domain name")
        return None

    def url_path(self, value: Any, path: Path) -> str | None:
        if isinstance(value, str) and value.startswith("/") and value.isprintable() and " " not in value:
            return value
        self.wrong(path, "a path that begins with /", value)
        return None

    def words(self, value: Any, path: Path) -> tuple[str, ...] | None:
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(value)
        self.wrong(path, "a list of strings", value)
        return None

    def one_of(self, value: Any, path: Path, known: list[str]) -> str | None:
        if value in known:
            return str(value)
        mend = did_you_mean(str(value), known) or f"Known are {', '.join(known)}."
        self.error(path, f'{_said(path)} can not be "{value}"', mend)
        return None

    def count(self, value: Any, path: Path) -> int | None:
        if isinstance(value, dict):
            self.later(path, "instances by group")
            return None
        return self.whole(value, path)

    def positive(self, value: Any, path: Path) -> int | None:
        return self.whole(value, path, 1)

    def whole(self, value: Any, path: Path, low: int = 0, high: int = LIVE_LIMIT) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.error(path, f"{_said(path)} must be a whole number from {low} to {high}")
        return None

    def amount(self, value: Any, path: Path) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6:
            return float(value)
        self.wrong(path, "a number above 0", value)
        return None

    def seconds(self, value: Any, path: Path) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
            return float(value)
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self.error(path, f"{_said(path)} must be a duration", "Write 30s, 5m, 6h, or seconds.")
            return None
        return float(match[1]) * _UNITS_S[match[2]]

    def share(self, value: Any, path: Path) -> float | None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)%", value) if isinstance(value, str) else None
        if match is not None and 0 < float(match[1]) <= 100:
            return float(match[1]) / 100
        self.error(path, f"{_said(path)} must be a part of the instances", "Write 50%.")
        return None


def _said(path: Path) -> str:
    """What a person calls the thing at this path: its nearest key."""
    return next((step for step in reversed(path) if isinstance(step, str)), "the entry")
