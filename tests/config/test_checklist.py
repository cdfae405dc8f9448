"""Every attribute of the specification's checklist has a place in a schema."""

import re

import pytest

from tests.shared import SHARED, needs_shared
from trunkline.config.schema import OBJECTS, PROJECT_PIPELINE
from trunkline.config.shape import Fields
from trunkline.config.tenant import TENANT_OBJECTS

PLACEHOLDERS = ("<", "=")


def known_keys(shape: object) -> set[str]:
    """All keys that a shape knows, at any depth."""
    found: set[str] = set()
    if isinstance(shape, Fields):
        found |= set(shape.known)
        for inner in (*shape.known.values(), shape.rest):
            found |= known_keys(inner)
    for attribute in ("of", "options"):
        inner = getattr(shape, attribute, None)
        for one in inner if isinstance(inner, tuple) else [inner]:
            if one is not None and one is not shape:
                found |= known_keys(one)
    return found


def checklist() -> list[tuple[str, str]]:
    if SHARED is None:
        return []
    out, top, chapter = [], "", ""
    for line in (SHARED / "reference" / "zuul-attributes.md").read_text().splitlines():
        if line.startswith("# "):
            chapter = line[2:]
        match = re.match(r"( *)- ([^:]+)", line)
        if not match or not chapter.startswith(("tenants", "config/")) or match[2].startswith("<"):
            continue
        if match[1] == "":
            top = match[2]
        else:
            out.append((top, match[2].strip()))
    return out


@needs_shared
@pytest.mark.parametrize("kind", sorted({kind for kind, _ in checklist()}))
def test_every_attribute_is_known(kind):
    shape = TENANT_OBJECTS.get(kind) or OBJECTS[kind]
    keys = known_keys(shape) | (known_keys(PROJECT_PIPELINE) if kind == "project" else set())
    if kind == "tenant":
        from trunkline.config.tenant import _OPTIONS

        keys |= known_keys(_OPTIONS) | {"config-projects", "untrusted-projects", "projects"}
    values = {"type"} if kind in ("job", "project") else set()
    free = {"change", "item"} if kind == "job" else set()
    missing = [a for k, a in checklist() if k == kind and a not in keys | values | free]
    assert missing == []
