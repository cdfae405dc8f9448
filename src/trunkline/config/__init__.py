"""The configuration language: YAML text in, a layout and frozen job graphs out.

Everything here is a pure function of its arguments: files, branches and keys are read elsewhere and handed in.

    text ── parse_blob ──▶ Fragment        what one file says, every object located (cached by the caller per blob)
    text ── load_tenants ─▶ TenantSpec      which projects a tenant has and what they may define
    fragments in order ── build_layout ──▶ Layout ── overlay ──▶ Layout of a future
    Layout ── freeze ──▶ FrozenGraph        which jobs run for a change, branch or tag, and exactly how

Nouns: a *source context* says where text comes from and whether it is trusted; a *fragment* holds the definitions
of one file; a *layout* indexes all definitions of a tenant by name; a *frozen job* needs nothing but itself to run.
An error never takes more than its own object away: it is a value that knows its place and its mend.
"""

from trunkline.config.errors import ConfigError, Severity
from trunkline.config.fragment import Fragment, parse_blob
from trunkline.config.frozen import (
    Dependency,
    FrozenGraph,
    FrozenJob,
    FrozenNode,
    FrozenNodeset,
    FrozenPlaybook,
    FrozenRole,
    IncludeVars,
    JobSemaphore,
    NodeGroup,
    RequiredProject,
    SecretRef,
)
from trunkline.config.layout import Layout, build_layout
from trunkline.config.pipeline import Pipeline
from trunkline.config.source import RefKind, Source, SourceContext, Subject
from trunkline.config.tenant import ProjectSpec, TenantSpec, config_paths, load_tenants

__all__ = [
    "ConfigError",
    "Dependency",
    "Fragment",
    "FrozenGraph",
    "FrozenJob",
    "FrozenNode",
    "FrozenNodeset",
    "FrozenPlaybook",
    "FrozenRole",
    "IncludeVars",
    "JobSemaphore",
    "Layout",
    "NodeGroup",
    "Pipeline",
    "ProjectSpec",
    "RefKind",
    "RequiredProject",
    "SecretRef",
    "Severity",
    "Source",
    "SourceContext",
    "Subject",
    "TenantSpec",
    "build_layout",
    "config_paths",
    "load_tenants",
    "parse_blob",
]
