"""`trunkline config …`: load, freeze and check configuration without a running service."""

from __future__ import annotations

import argparse
import configparser
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from trunkline.config.connections import SOURCES, connection_spec
from trunkline.config.discovery import read_branch
from trunkline.config.dump import decide, dump_error, dump_graph, dump_layout, subject_of
from trunkline.config.errors import ConfigError, Severity
from trunkline.config.fragment import Fragment, parse_blob
from trunkline.config.layout import Layout, build_layout
from trunkline.config.sarif import sarif
from trunkline.config.schema import json_schema
from trunkline.config.source import Source, SourceContext
from trunkline.config.tenant import load_tenants
from trunkline.config.tenant_model import ConnectionSpec, ProjectSpec, TenantFile, TenantSpec, config_paths

BRANCH = "master"


def configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)
    dump = verbs.add_parser("dump", help="print what tenants come to, as JSON")
    _installation(dump)
    dump.add_argument("--tenant", help="only this tenant")
    dump.add_argument("--project", help="print the frozen graph of this project")
    dump.add_argument("--pipeline", help="with --project: in this pipeline")
    dump.add_argument("--branch", default=BRANCH, help="with --project: for this branch")
    dump.add_argument("--files", nargs="*", help="with --project: for a change of these files")
    answer = verbs.add_parser("decide", help="read {tenant: [question]} and print which jobs would run")
    _installation(answer)
    answer.add_argument("--why", action="store_true", help="add the reason for each variant")
    why = verbs.add_parser("why", help="say why a job runs or does not")
    _installation(why)
    why.add_argument("job")
    why.add_argument("--tenant")
    why.add_argument("--project", required=True)
    why.add_argument("--pipeline", required=True)
    why.add_argument("--branch", default=BRANCH)
    why.add_argument("--ref", choices=("change", "branch", "tag"), default="change")
    why.add_argument("--files", nargs="*", default=[])
    check = verbs.add_parser("check", help="check the configuration in a directory, or whole tenants")
    check.add_argument("directory", nargs="?", help="a working tree of one project")
    _installation(check, required=False)
    check.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    check.add_argument("--trusted", action="store_true", help="the directory is a config project")
    verbs.add_parser("schema", help="print a JSON Schema of configuration files")


def _installation(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--zuul-conf", type=Path, required=required, help="service configuration with the connections")
    parser.add_argument("--tenant-file", type=Path, required=required)
    parser.add_argument("--trees", type=Path, required=required, help="working trees, one a project, / as _")


def run(args: argparse.Namespace) -> int:
    verb = {"dump": _dump, "decide": _decide, "why": _why, "check": _check, "schema": _schema}[args.verb]
    try:
        return verb(args)
    except OSError as problem:
        print(f"{problem.filename}: {problem.strerror}", file=sys.stderr)
        return 2


def read_connections(path: Path) -> dict[str, ConnectionSpec]:
    """The connections of a service configuration."""
    known = {f"%({k})s": v for k, v in os.environ.items() if k.startswith("ZUUL_")}
    text = path.read_text()
    for name, value in known.items():
        text = text.replace(name, value)
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    return {
        section.split(None, 1)[1].strip('"'): connection_spec(
            section.split(None, 1)[1].strip('"'), dict(parser[section])
        )
        for section in parser.sections()
        if section.startswith("connection ")
    }


def read_default_ansible(path: Path) -> str | None:
    """The scheduler's default version of Ansible, for tenants that set none."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read(path)
    return parser.get("scheduler", "default_ansible_version", fallback=None)


def with_default(tenant: TenantSpec, version: str | None) -> TenantSpec:
    if version is None or tenant.default_ansible_version is not None:
        return tenant
    return msgspec.structs.replace(tenant, default_ansible_version=version)


def read_tree(spec: ProjectSpec, tree: Path) -> dict[str, str]:
    """The texts of the configuration files in a working tree."""
    wanted = config_paths(spec)
    out = {}
    roots = ["zuul.yaml", ".zuul.yaml", "zuul.d", ".zuul.d", *spec.extra_config_files, *spec.extra_config_dirs]
    for path in _files(tree, roots):
        name = path.relative_to(tree).as_posix()
        if wanted(name):
            out[name] = path.read_bytes().decode("utf-8", errors="surrogateescape")
    return out


def _files(tree: Path, roots: list[str]) -> Iterator[Path]:
    for root in roots:
        path = tree / root
        if path.is_file():
            yield path
        elif path.is_dir():
            for folder, _, names in os.walk(path):
                yield from (Path(folder) / n for n in names)


def load(args: argparse.Namespace) -> tuple[TenantFile, dict[str, Layout]]:
    """Every tenant of the tenant file, read from the working trees. Each file is parsed once."""
    connections = read_connections(args.zuul_conf)
    sources = {n: c for n, c in connections.items() if c.driver in SOURCES}
    tenants = load_tenants(args.tenant_file.read_text(), str(args.tenant_file), sources)
    default = read_default_ansible(args.zuul_conf)
    cache: dict[Any, tuple[Fragment, ...]] = {}
    layouts = {
        name: build_layout(
            with_default(tenant, default),
            [_source(p, args.trees, connections, cache) for p in tenant.projects],
            connections,
        )
        for name, tenant in tenants.tenants.items()
        if not getattr(args, "tenant", None) or args.tenant == name
    }
    return tenants, layouts


def _source(
    spec: ProjectSpec, trees: Path, connections: dict[str, ConnectionSpec], cache: dict[Any, tuple[Fragment, ...]]
) -> Source:
    tree = trees / spec.name.replace("/", "_")
    connection = connections[spec.connection]
    readable = tree.is_dir() and connection.problem is None
    branches = (BRANCH,) if readable and spec.loads_branch(BRANCH) else ()
    key = (spec.canonical_name, spec.trusted, spec.extra_config_files, spec.extra_config_dirs, bool(spec.classes))
    if branches and key not in cache:
        cache[key] = read_branch(spec, BRANCH, read_tree(spec, tree))
    fragments = {BRANCH: cache[key]} if branches else {}
    return Source(
        canonical_name=spec.canonical_name,
        branches=branches,
        fragments=fragments,
        merge_modes=connection.merge_modes,
        default_merge_mode=connection.default_merge_mode,
        problem=connection.problem,
    )


def _print(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1, default=str)
    sys.stdout.write("\n")


def _dump(args: argparse.Namespace) -> int:
    tenants, layouts = load(args)
    _complain(tenants.errors)
    if args.project:
        layout = next(iter(layouts.values()))
        question = {"project": layout.resolve(args.project), "branch": args.branch, "files": args.files}
        question["ref"] = "branch" if args.files is None else "change"
        names = [args.pipeline] if args.pipeline else list(layout.pipelines)
        _print({name: dump_graph(layout.freeze(name, (subject_of(question),))) for name in names})
        return 0
    _print({name: dump_layout(layout) for name, layout in layouts.items()})
    return 0


def _decide(args: argparse.Namespace) -> int:
    questions = json.load(sys.stdin)
    _, layouts = load(args)
    _print({t: [decide(layouts[t], q, args.why) for q in asked] for t, asked in questions.items() if t in layouts})
    return 0


def _why(args: argparse.Namespace) -> int:
    _, layouts = load(args)
    for name, layout in layouts.items():
        project = layout.find_project(args.project)
        if project is None:
            continue
        question = {"project": project, "branch": args.branch, "ref": args.ref, "files": args.files}
        graph = layout.freeze(args.pipeline, (subject_of(question),))
        job = graph.job(args.job)
        print(f"{name}: {args.job} {'runs' if job else 'does not run'} for {project} in {args.pipeline}")
        for note in graph.debug:
            print(f"  {note}")
        if graph.error is not None:
            print(graph.error.message)
        for applied in job.applied if job else ():
            print(f"  applied: {applied}")
    return 0


def _complain(errors: tuple[ConfigError, ...]) -> None:
    for error in errors:
        print(error.message, file=sys.stderr)


def check_directory(directory: Path, trusted: bool) -> tuple[ConfigError, ...]:
    """The complaints about one project's files, and what can be said of its names alone."""
    name = directory.resolve().name
    spec = ProjectSpec(
        connection="local", name=name, canonical_name=f"local/{name}", trusted=trusted,
        classes=frozenset({"pipeline", "job", "project", "project-template", "nodeset", "secret", "semaphore", "queue",
                           "image", "flavor", "label", "section", "provider"}),
    )  # fmt: skip
    if directory.is_file():
        source = SourceContext("local", name, "", str(directory), trusted, spec.canonical_name)
        return parse_blob(directory.read_bytes(), source).errors
    fragments = read_branch(spec, BRANCH, read_tree(spec, directory))
    return tuple(e for f in fragments for e in f.errors)


def _check(args: argparse.Namespace) -> int:
    if args.directory:
        errors = check_directory(Path(args.directory), args.trusted)
    elif args.tenant_file and args.zuul_conf and args.trees:
        tenants, layouts = load(args)
        errors = (*tenants.errors, *(e for layout in layouts.values() for e in layout.errors))
    else:
        print("Name a directory, or give --zuul-conf, --tenant-file and --trees.", file=sys.stderr)
        return 2
    if args.format == "json":
        _print([dump_error(e) for e in errors])
    elif args.format == "sarif":
        _print(sarif(errors))
    else:
        for error in errors:
            print(f"{error.severity.value}: {error.name}\n{error.message}\n")
        count = sum(e.severity is Severity.ERROR for e in errors)
        print(f"{count} errors, {len(errors) - count} warnings")
    return 1 if any(e.severity is Severity.ERROR for e in errors) else 0


def _schema(args: argparse.Namespace) -> int:
    _print(json_schema())
    return 0
