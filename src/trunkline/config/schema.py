"""The shape of every object of the language; one table an object, checked before anything is made of it."""

from __future__ import annotations

from typing import Any

from trunkline.config.shape import (
    ANY,
    BOOL,
    INT,
    MAP,
    NOTHING,
    NUMBER,
    STR,
    Combining,
    Either,
    Fields,
    Many,
    Mapped,
    OneKey,
    OneOf,
    at_least,
    scalar_or_list,
)

STRS = scalar_or_list(STR)
REGEX = Either((STR, Fields({"regex": STR, "negate": BOOL}, required=("regex",))))
REGEXES = scalar_or_list(REGEX)
VARS = Mapped(ANY)
OPEN = Mapped(ANY)

_NODE = Fields({"name": scalar_or_list(STR), "label": STR}, required=("name", "label"))
_GROUP = Fields({"name": STR, "nodes": STRS}, required=("name", "nodes"))
_NODES = {"nodes": scalar_or_list(_NODE), "groups": scalar_or_list(_GROUP)}
INLINE_NODESET = Fields({**_NODES, "alternatives": Many(Either((STR, Fields(_NODES, required=("nodes",)))))})
NODESET = Fields(
    {"name": STR, **_NODES, "alternatives": Many(Either((STR, Fields(_NODES, required=("nodes",)))))},
    required=("name",),
    exclusive=("nodes", "alternatives"),
)

_SEMAPHORE_USE = Either((STR, Fields({"name": STR, "resources-first": BOOL}, required=("name",))))
_PLAYBOOK = Either((STR, Fields({"name": STR, "semaphores": STRS}, required=("name",))))
_POST_PLAYBOOK = Either((STR, Fields({"name": STR, "semaphores": STRS, "cleanup": BOOL}, required=("name",))))
_SECRET_USE = Either((STR, Fields({"name": STR, "secret": STR, "pass-to-parent": BOOL}, required=("name", "secret"))))
_ROLE = Either(
    (
        Fields({"zuul": STR, "name": STR}, required=("zuul",)),
        Fields({"galaxy": STR, "name": STR}, required=("galaxy",)),
    )
)
_REQUIRED_PROJECT = Either(
    (STR, Fields({"name": STR, "override-checkout": STR, "override-branch": STR}, required=("name",)))
)
_PROJECT_FILTER = Either(
    (
        STR,
        Fields({"type": OneOf(("name",)), "name": STR}, required=("type", "name")),
        Fields({"type": OneOf(("change", "item"))}, required=("type",)),
    )
)
_INCLUDE_VARS = Either(
    (
        STR,
        Fields(
            {"name": STR, "project": STR, "zuul-project": BOOL, "use-ref": BOOL, "required": BOOL},
            required=("name",),
            exclusive=("project", "zuul-project"),
        ),
    )
)
_DEPENDENCY = Either((STR, Fields({"name": STR, "soft": BOOL}, required=("name",))))

CONTROLLED_ATTRIBUTES = (
    "requires",
    "provides",
    "tags",
    "files",
    "irrelevant-files",
    "required-projects",
    "include-projects",
    "exclude-projects",
    "vars",
    "extra-vars",
    "host-vars",
    "group-vars",
    "include-vars",
    "dependencies",
    "failure-output",
    "type",
    "voting",
    "pre-run",
    "run",
    "post-run",
)

JOB_ATTRIBUTES: dict[str, Any] = {
    "parent": Either((STR, NOTHING)),
    "description": STR,
    "variant-description": STR,
    "final": BOOL,
    "protected": BOOL,
    "abstract": BOOL,
    "intermediate": BOOL,
    "type": OneOf(("regular", "initializer", "reporter")),
    "attribute-control": Fields(dict.fromkeys(CONTROLLED_ATTRIBUTES, Fields({"final": BOOL}))),
    "success-message": STR,
    "failure-message": STR,
    "success-url": STR,
    "failure-url": STR,
    "hold-following-changes": BOOL,
    "voting": BOOL,
    "semaphore": _SEMAPHORE_USE,
    "semaphores": scalar_or_list(_SEMAPHORE_USE),
    "tags": Combining(STRS),
    "provides": Combining(STRS),
    "requires": Combining(STRS),
    "secrets": scalar_or_list(_SECRET_USE),
    "secret-exposure": OneOf(("ignore", "redact", "fail")),
    "nodeset": Either((STR, INLINE_NODESET)),
    "override-checkout": STR,
    "override-branch": STR,
    "pre-timeout": INT,
    "timeout": INT,
    "post-timeout": INT,
    "attempts": INT,
    "pre-run": scalar_or_list(_PLAYBOOK),
    "post-run": scalar_or_list(_POST_PLAYBOOK),
    "cleanup-run": scalar_or_list(_PLAYBOOK),
    "run": scalar_or_list(_PLAYBOOK),
    "ansible-split-streams": BOOL,
    "ansible-version": Either((STR, NUMBER)),
    "roles": scalar_or_list(_ROLE),
    "required-projects": Combining(scalar_or_list(_REQUIRED_PROJECT)),
    "include-projects": Combining(Either((NOTHING, scalar_or_list(_PROJECT_FILTER)))),
    "exclude-projects": Combining(Either((NOTHING, scalar_or_list(_PROJECT_FILTER)))),
    "vars": Combining(VARS),
    "extra-vars": Combining(VARS),
    "host-vars": Combining(Mapped(VARS)),
    "group-vars": Combining(Mapped(VARS)),
    "include-vars": Combining(scalar_or_list(_INCLUDE_VARS)),
    "dependencies": Combining(scalar_or_list(_DEPENDENCY)),
    "allowed-projects": STRS,
    "post-review": BOOL,
    "branches": REGEXES,
    "files": Combining(REGEXES),
    "irrelevant-files": Combining(REGEXES),
    "match-on-config-updates": BOOL,
    "deduplicate": OneOf((True, False, "auto")),
    "failure-output": Combining(STRS),
    "workspace-scheme": OneOf(("golang", "flat", "unique")),
    "workspace-checkout": OneOf((True, False, "auto")),
    "image-build-name": STR,
    "preserve-home-paths": STRS,
}
JOB = Fields({"name": STR, **JOB_ATTRIBUTES}, required=("name",))
JOB_ENTRY = Either((STR, OneKey(Fields(JOB_ATTRIBUTES))))

_PARAMETER = Fields(
    {
        "name": STR,
        "type": OneOf(("string", "selection", "multiple-selection", "bool")),
        "description": STR,
        "values": Many(ANY),
        "default": ANY,
        "required": BOOL,
    },
    required=("name",),
)
PROJECT_PIPELINE = Fields(
    {"jobs": scalar_or_list(JOB_ENTRY), "debug": BOOL, "fail-fast": BOOL, "parameters": Many(_PARAMETER)}
)
MERGE_MODES = (
    "merge",
    "merge-resolve",
    "merge-recursive",
    "merge-ort",
    "cherry-pick",
    "squash-merge",
    "rebase",
    "rebase-first-parent",
)
_TEMPLATE_ATTRIBUTES: dict[str, Any] = {"name": STR, "description": STR, "vars": VARS, "queue": STR}
PROJECT_ATTRIBUTES: dict[str, Any] = {
    **_TEMPLATE_ATTRIBUTES,
    "templates": STRS,
    "branches": REGEXES,
    "merge-mode": OneOf(MERGE_MODES),
    "default-branch": STR,
}
PROJECT = Fields(PROJECT_ATTRIBUTES, rest=PROJECT_PIPELINE)
TEMPLATE = Fields(_TEMPLATE_ATTRIBUTES, required=("name",), rest=PROJECT_PIPELINE)

_BY_CONNECTION = Mapped(ANY)
PIPELINE = Fields(
    {
        "name": STR,
        "manager": OneOf(("independent", "dependent", "serial", "supercedent")),
        "description": STR,
        "variant-description": STR,
        "post-review": BOOL,
        "allow-other-connections": BOOL,
        "allow-parameters": BOOL,
        "supercedes": STRS,
        "dequeue-on-new-patchset": BOOL,
        "ignore-dependencies": BOOL,
        "precedence": OneOf(("normal", "low", "high")),
        "trigger": _BY_CONNECTION,
        "require": _BY_CONNECTION,
        "reject": _BY_CONNECTION,
        "success": _BY_CONNECTION,
        "failure": _BY_CONNECTION,
        "merge-conflict": _BY_CONNECTION,
        "merge-failure": _BY_CONNECTION,
        "config-error": _BY_CONNECTION,
        "enqueue": _BY_CONNECTION,
        "start": _BY_CONNECTION,
        "no-jobs": _BY_CONNECTION,
        "disabled": _BY_CONNECTION,
        "dequeue": _BY_CONNECTION,
        "success-message": STR,
        "failure-message": STR,
        "start-message": STR,
        "enqueue-message": STR,
        "merge-conflict-message": STR,
        "merge-failure-message": STR,
        "no-jobs-message": STR,
        "dequeue-message": STR,
        "footer-message": STR,
        "disable-after-consecutive-failures": at_least(1),
        "window": at_least(0),
        "window-floor": at_least(1),
        "window-ceiling": Either((at_least(1), NOTHING)),
        "window-increase-type": OneOf(("linear", "exponential")),
        "window-increase-factor": at_least(1),
        "window-decrease-type": OneOf(("linear", "exponential")),
        "window-decrease-factor": at_least(1),
    },
    required=("name", "manager"),
)

QUEUE = Fields(
    {
        "name": STR,
        "per-branch": BOOL,
        "type": OneOf(("all-branches", "per-branch", "branch-assigned")),
        "allow-circular-dependencies": BOOL,
        "dependencies-by-topic": BOOL,
    },
    required=("name",),
    exclusive=("per-branch", "type"),
)
SEMAPHORE = Fields({"name": STR, "max": INT}, required=("name",))
SECRET = Fields(
    {
        "name": STR,
        "data": VARS,
        "oidc": Either((NOTHING, Fields({"ttl": INT, "iss": STR, "algorithm": STR, "claims": MAP}))),
    },
    required=("name",),
    exclusive=("data", "oidc"),
)
PRAGMA = Fields({"implied-branch-matchers": BOOL, "implied-branches": REGEXES})
IMAGE = Fields(
    {
        "name": STR,
        "type": OneOf(("zuul", "cloud")),
        "description": STR,
        "retain-count": at_least(1),
        "max-retain-count": at_least(1),
    },
    required=("name", "type"),
)
FLAVOR = Fields({"name": STR, "description": STR}, required=("name",))
LABEL = Fields(
    {
        "name": STR,
        "image": STR,
        "flavor": STR,
        "description": STR,
        "min-ready": INT,
        "max-ready-age": INT,
        "max-age": INT,
        "min-retention-time": INT,
        "max-nodes": INT,
        "aliases": STRS,
    },
    required=("name", "image", "flavor"),
)
_ATTACHED = Many(Either((STR, Fields({"name": STR}, required=("name",), rest=ANY))))
SECTION = Fields(
    {
        "name": STR,
        "parent": Either((STR, NOTHING)),
        "abstract": Either((BOOL, NOTHING)),
        "connection": Either((STR, NOTHING)),
        "description": Either((STR, NOTHING)),
        "image-defaults": MAP,
        "flavor-defaults": MAP,
        "label-defaults": MAP,
        "images": _ATTACHED,
        "flavors": _ATTACHED,
        "labels": _ATTACHED,
    },
    required=("name",),
    rest=ANY,
)
PROVIDER = Fields(
    {
        "name": STR,
        "section": STR,
        "description": Either((STR, NOTHING)),
        "image-defaults": MAP,
        "flavor-defaults": MAP,
        "label-defaults": MAP,
        "images": _ATTACHED,
        "labels": _ATTACHED,
    },
    required=("name", "section"),
    rest=ANY,
)

OBJECTS: dict[str, Any] = {
    "pipeline": PIPELINE,
    "job": JOB,
    "project": PROJECT,
    "project-template": TEMPLATE,
    "nodeset": NODESET,
    "semaphore": SEMAPHORE,
    "queue": QUEUE,
    "secret": SECRET,
    "pragma": PRAGMA,
    "image": IMAGE,
    "flavor": FLAVOR,
    "label": LABEL,
    "section": SECTION,
    "provider": PROVIDER,
}


def json_schema() -> dict[str, Any]:
    """A JSON Schema of a configuration file, for the completion of editors."""
    entries = [
        {"type": "object", "properties": {kind: shape.describe()}, "required": [kind], "additionalProperties": False}
        for kind, shape in OBJECTS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a project",
        "type": "array",
        "items": {"anyOf": entries},
    }
