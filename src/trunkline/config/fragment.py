"""One file, read: its definitions in order, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trunkline.config.definitions import (
    NO_PRAGMA,
    Definition,
    JobEntry,
    Parameter,
    PipelineDef,
    Place,
    Pragma,
    ProjectDef,
    ProjectPipeline,
    ProviderObject,
    QueueDef,
    SecretDef,
    SemaphoreDef,
)
from trunkline.config.errors import ConfigError, Refused, Severity, did_you_mean, make_error
from trunkline.config.read_job import RESERVED_NAMES, Located, as_list, check_variables, read_job, without_encryption
from trunkline.config.read_nodeset import read_nodeset
from trunkline.config.regex import DEPRECATION, regexes_of
from trunkline.config.schema import OBJECTS, PROJECT_ATTRIBUTES
from trunkline.config.source import SourceContext
from trunkline.config.syntax import KEY, SYNTAX_ERROR, Encrypted, Item, read_items

Warn = Callable[[ConfigError], None]


class Complaint(msgspec.Struct, frozen=True):
    """An error of a file, with the kind of object it concerns (None: the file as a whole)."""

    kind: str | None
    error: ConfigError


class Fragment(msgspec.Struct, frozen=True, eq=False):
    """The definitions of one file in their order, and the complaints. Independent of any tenant."""

    source: SourceContext
    text: str
    definitions: tuple[Definition, ...] = ()
    complaints: tuple[Complaint, ...] = ()
    pragma: Pragma = NO_PRAGMA

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        return tuple(c.error for c in self.complaints)


def parse_blob(text: str | bytes, source: SourceContext) -> Fragment:
    """Read one file. Never raises: what cannot be read becomes a complaint, the rest stands.

    O(size of the text). The result depends on the arguments alone and may be cached by (blob id, source).
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as problem:
            short = f"The file is not UTF-8: byte {problem.start} is not part of a character"
            error = make_error(source, short, name=SYNTAX_ERROR, mend="Save the file as UTF-8.")
            return Fragment(source, "", (), (Complaint(None, error),))
    try:
        items, problems = read_items(text)
    except Refused as problem:
        return Fragment(source, text, (), (Complaint(None, _file_error(problem, text, source)),))
    complaints = [Complaint(None, _file_error(p, text, source)) for p in problems]
    pragma = _read_pragmas(text, source, items, complaints)
    definitions: list[Definition] = []
    for item in items:
        place = Place(source, text, item.index, item.kind, item.line)
        if item.kind not in OBJECTS:
            mend = did_you_mean(item.kind, OBJECTS) or f"Known objects are {', '.join(sorted(OBJECTS))}."
            error = place.error(f'Unknown object "{item.kind}"', path=(KEY,), mend=mend, name=SYNTAX_ERROR)
            complaints.append(Complaint(None, error))
        elif item.kind != "pragma":
            made = _read_item(item, place, pragma, complaints)
            if made is not None:
                definitions.append(made)
    return Fragment(source, text, tuple(definitions), tuple(complaints), pragma)


def _file_error(problem: Refused, text: str, source: SourceContext) -> ConfigError:
    return make_error(source, problem.short, text=text, at=problem.at, name=problem.name, mend=problem.mend)


def _read_pragmas(text: str, source: SourceContext, items: list[Item], complaints: list[Complaint]) -> Pragma:
    matchers, branches = None, None
    for item in items:
        if item.kind != "pragma":
            continue
        place = Place(source, text, item.index, item.kind, item.line)

        def warn(words: str, place: Place = place) -> None:
            error = place.error(words, path=("implied-branches",), name=DEPRECATION, severity=Severity.WARNING)
            complaints.append(Complaint("pragma", error))

        try:
            check_shape(item.kind, item.body, place)
            if "implied-branch-matchers" in item.body:
                matchers = item.body["implied-branch-matchers"]
            if "implied-branches" in item.body:
                branches = regexes_of(item.body["implied-branches"], warn)
        except Refused as problem:
            complaints.append(Complaint("pragma", _refusal(problem, place)))
    return Pragma(matchers, branches)


def _refusal(problem: Refused, place: Place) -> ConfigError:
    path = problem.path if isinstance(problem, Located) else ()
    return place.error(problem.short, path=path, at=problem.at, name=problem.name, mend=problem.mend)


def check_shape(kind: str, body: Any, place: Place, shape: Any = None, path: tuple[Any, ...] = ()) -> None:
    """Refuse a body that does not fit its schema; all faults in one text, at the place of the first."""
    faults: list[tuple[tuple[Any, ...], str, str]] = []
    (shape or OBJECTS[kind]).check(body, path, lambda p, text, mend: faults.append((p, text, mend)))
    if not faults:
        return
    first_path, text, mend = faults[0]
    shown = [_with_path(first_path, text)]
    for other_path, other, other_mend in faults[1:6]:
        at = place.position(other_path)
        shown.append(f"also line {at.line}: {_with_path(other_path, other)}{' ' + other_mend if other_mend else ''}")
    if len(faults) > 6:
        shown.append(f"and {len(faults) - 6} more")
    named = body.get("name") if isinstance(body, dict) else None
    what = f'{kind} "{named}"' if isinstance(named, str) else kind
    raise Located(f"In the {what}: " + "; ".join(shown), path=first_path, mend=mend)


def _with_path(path: tuple[Any, ...], text: str) -> str:
    steps = [str(s) for s in path if isinstance(s, str | int)]
    if steps and text.startswith("unknown key"):
        steps.pop()
    return f"{'.'.join(steps)}: {text}" if steps else text


def _read_item(item: Item, place: Place, pragma: Pragma, complaints: list[Complaint]) -> Definition | None:
    warnings: list[ConfigError] = []
    try:
        check_shape(item.kind, item.body, place)
        made = _READERS[item.kind](item.body, place, pragma, warnings.append)
    except Refused as problem:
        complaints.append(Complaint(item.kind, _refusal(problem, place)))
        return None
    except RecursionError:
        complaints.append(Complaint(item.kind, place.error("The object is nested too deeply")))
        return None
    complaints.extend(Complaint(item.kind, w) for w in warnings)
    return made


def _pipeline(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    return PipelineDef(name=body["name"], place=place, body=body)


def _job(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    return read_job(body["name"], body, place, pragma, warn)


def _project_pipeline(
    body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn, path: tuple[Any, ...]
) -> ProjectPipeline:
    entries = []
    for index, entry in enumerate(as_list(body.get("jobs"))):
        name, attrs = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        where = (*path, "jobs", index) if isinstance(entry, str) else (*path, "jobs", index, name)
        try:
            job = read_job(name, attrs, place, pragma, warn, path=where, in_project=True)
        except Located as problem:
            problem.path = (*where, *problem.path)
            raise
        entries.append(JobEntry(name, job, where))
    parameters = []
    for index, parameter in enumerate(body.get("parameters") or []):
        check_variables({parameter["name"]: None}, (*path, "parameters", index), RESERVED_NAMES)
        parameters.append(
            Parameter(
                parameter["name"],
                parameter.get("type", "string"),
                parameter.get("description"),
                tuple(parameter.get("values") or ()),
                parameter.get("default"),
                bool(parameter.get("required", False)),
            )
        )
    return ProjectPipeline(tuple(entries), bool(body.get("debug", False)), body.get("fail-fast"), tuple(parameters))


def _project(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    def deprecated(text: str) -> None:
        warn(place.error(text, path=("branches",), name=DEPRECATION, severity=Severity.WARNING))

    is_template = place.kind == "project-template"
    variables = body.get("vars") or {}
    check_variables(variables, ("vars",), RESERVED_NAMES)
    without_encryption(variables, ("vars",))
    pipelines = {
        key: _project_pipeline(value, place, pragma, warn, (key,))
        for key, value in body.items()
        if key not in PROJECT_ATTRIBUTES and isinstance(value, dict)
    }
    return ProjectDef(
        name=body.get("name", place.source.project),
        place=place,
        is_template=is_template,
        templates=tuple(dict.fromkeys(as_list(body.get("templates")))),
        branches=regexes_of(body.get("branches"), deprecated) or None,
        merge_mode=body.get("merge-mode"),
        default_branch=body.get("default-branch"),
        queue=body.get("queue"),
        variables=variables,
        pipelines=pipelines,
        pragma=pragma,
    )


def _nodeset(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    return read_nodeset(body["name"], body, place)


def _semaphore(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    return SemaphoreDef(name=body["name"], place=place, max=body.get("max", 1))


def _queue(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    kind = body.get("type") or ("per-branch" if body.get("per-branch") else "all-branches")
    circular, by_topic = bool(body.get("allow-circular-dependencies")), bool(body.get("dependencies-by-topic"))
    if by_topic and not circular:
        raise Located(
            "dependencies-by-topic needs allow-circular-dependencies",
            path=("dependencies-by-topic",),
            mend="Add `allow-circular-dependencies: true`.",
        )
    return QueueDef(
        name=body["name"], place=place, type=kind, allow_circular_dependencies=circular, dependencies_by_topic=by_topic
    )


ENCRYPTED = "!encrypted/pkcs1-oaep"


def plain(value: Any) -> Any:
    """A secret's data as plain values: an encrypted leaf becomes {ENCRYPTED: [chunk, …]}."""
    if isinstance(value, Encrypted):
        return {ENCRYPTED: list(value.chunks)}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def _secret(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    if "data" not in body and "oidc" not in body:
        raise Located("A secret needs data or oidc", mend="Add `data:` with the values.")
    oidc = body.get("oidc")
    return SecretDef(name=body["name"], place=place, data=plain(body.get("data")), oidc=oidc, has_oidc="oidc" in body)


def _provider_object(body: Mapping[str, Any], place: Place, pragma: Pragma, warn: Warn) -> Definition:
    return ProviderObject(name=body["name"], place=place, kind=place.kind, body=body)


_READERS: dict[str, Callable[[Mapping[str, Any], Place, Pragma, Warn], Definition]] = {
    "pipeline": _pipeline,
    "job": _job,
    "project": _project,
    "project-template": _project,
    "nodeset": _nodeset,
    "semaphore": _semaphore,
    "queue": _queue,
    "secret": _secret,
    "image": _provider_object,
    "flavor": _provider_object,
    "label": _provider_object,
    "section": _provider_object,
    "provider": _provider_object,
}
