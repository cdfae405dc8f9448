"""Mutated configuration: how many files are read per second, and whether any of them does worse than an error."""

from __future__ import annotations

import random
import time

from bench.config_layout import CONFIG, HOST, context, project_text, spec_of
from bench.report import Report
from trunkline.config import Source, TenantSpec, build_layout, parse_blob
from trunkline.config.source import RefKind, Subject

SEED = 1
SPEC = spec_of("org/p1", True)
TENANT = TenantSpec(name="fuzz", projects=(SPEC,))
PIECES = (
    "",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "&x ",
    "*x",
    "!override ",
    "!encrypted/pkcs1-oaep ",
    "\t",
    "null",
    "'",
    '"',
    "|",
    "\n",
    "#",
    "\x00",
    "9" * 30,
)
EXTRA = """
- secret: {name: s, data: {k: !encrypted/pkcs1-oaep [YWJj, ZGVm]}}
- nodeset: {name: two, nodes: [{name: [a, b], label: l}], groups: [{name: g, nodes: [a]}]}
- queue: {name: q, allow-circular-dependencies: true}
- section: {name: s, connection: c, images: [{name: i, image-id: x}]}
- pragma: {implied-branches: [stable/.*]}
"""


def mutated(text: str, random_: random.Random) -> str:
    """The text with one to five small accidents."""
    for _ in range(random_.randint(1, 5)):
        at = random_.randrange(len(text) + 1)
        text = text[:at] + random_.choice(PIECES) + text[at + random_.randrange(6) :]
    if random_.random() < 0.1:
        at = random_.randrange(len(text) + 1)
        text = text[:at] + text[random_.randrange(len(text) + 1) :]
    return text


def read_and_freeze(text: str) -> bool:
    """Whether the text has errors; it is parsed, laid out and frozen for every pipeline."""
    fragment = parse_blob(text, context(SPEC, "master"))
    layout = build_layout(TENANT, [Source(SPEC.canonical_name, ("master",), {"master": (fragment,)})])
    for pipeline in layout.pipelines:
        layout.freeze(pipeline, (Subject(f"{HOST}/org/p1", RefKind.CHANGE, "master", "", ("src/a",)),))
    return bool(layout.errors)


def run(quick: bool) -> Report:
    report = Report(
        "config_fuzz",
        f"files with one to five random accidents each, seed {SEED}; every one must end in values or errors",
    )
    count = 2_000 if quick else 100_000
    random_ = random.Random(SEED)
    originals = [CONFIG + EXTRA, CONFIG + project_text(1), EXTRA, project_text(1)]
    slowest, with_errors, failures = 0.0, 0, 0
    start = time.process_time()
    for _ in range(count):
        text = mutated(random_.choice(originals), random_)
        before = time.process_time()
        try:
            with_errors += read_and_freeze(text)
        except Exception as problem:
            failures += 1
            print(f"{type(problem).__name__}: {problem}\n{text!r}")
        slowest = max(slowest, time.process_time() - before)
    spent = time.process_time() - start
    row = {"case": "mutated files", "files": count, "failures": failures, "with_errors": with_errors}
    report.rows.append({**row, "rate_per_cpu_s": count / spent, "slowest_cpu_ms": slowest * 1000, "n": count})
    return report
