"""Which files of a branch are configuration, and in which order they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trunkline.config.errors import Severity, make_error
from trunkline.config.fragment import Complaint, Fragment, parse_blob
from trunkline.config.source import SourceContext
from trunkline.config.tenant_model import STANDARD_PATHS, ProjectSpec

IGNORE_FILE = ".zuul.ignore"
MULTIPLE = "Multiple Project Configurations"


def _under(tree: str, paths: Iterable[str], pruned: tuple[str, ...]) -> list[str]:
    return sorted(p for p in paths if p.startswith(tree) and p.endswith(".yaml") and not p.startswith(pruned))


def config_files(spec: ProjectSpec, files: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(paths to read in order, paths of ignored alternatives) of one branch.

    `files` holds the text of everything that `config_paths(spec)` accepts. Empty files do not count.
    """
    pruned = tuple(p[: -len(IGNORE_FILE)] for p in files if p.endswith("/" + IGNORE_FILE))
    full = {p for p, text in files.items() if text.strip()}
    chosen: list[str] = []
    ignored: list[str] = []
    for root in STANDARD_PATHS:
        found = _under(root, full, pruned) if root.endswith("/") else [p for p in (root,) if p in full]
        if found and chosen:
            ignored.extend(found)
        elif found:
            chosen = found
    extra = [p for p in spec.extra_config_files if p in full and p not in chosen]
    for tree in spec.extra_config_dirs:
        extra += [p for p in _under(tree, full, pruned) if p not in chosen and p not in extra]
    return [*chosen, *extra], ignored


def read_branch(spec: ProjectSpec, branch: str, files: Mapping[str, str]) -> tuple[Fragment, ...]:
    """The fragments of a branch from the texts of its configuration files."""
    if not spec.classes:
        return ()
    chosen, ignored = config_files(spec, files)
    out = [parse_blob(files[path], context_of(spec, branch, path)) for path in chosen]
    return (*out, *(ignored_fragment(context_of(spec, branch, p), chosen[0]) for p in ignored))


def context_of(spec: ProjectSpec, branch: str, path: str) -> SourceContext:
    return SourceContext(spec.connection, spec.name, branch, path, spec.trusted, spec.canonical_name)


def ignored_fragment(source: SourceContext, used: str) -> Fragment:
    """Stands for a file that is not read because another place of configuration exists."""
    error = make_error(
        source,
        f"The configuration is read from {used}; {source.path} is ignored",
        name=MULTIPLE,
        severity=Severity.WARNING,
        mend="Keep one of zuul.yaml, zuul.d/, .zuul.yaml and .zuul.d/.",
    )
    return Fragment(source, "", (), (Complaint(None, error),))
