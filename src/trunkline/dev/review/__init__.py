"""An embedded review server that speaks Gerrit's SSH, REST and git protocols.

It is real where it matters: real git under real SSH and HTTP, real merges, durable state; and small: one process, one
state directory, fixed labels and access rules. It holds itself to recordings of Gerrit 3.13, so that a client cannot
tell the two apart by what it uses.

Nouns: *site* (the state: accounts, groups, projects, changes), *action* (something a person does to it: push, review,
submit, abandon…), *event* (what listeners are told), *rules* (labels, ranges, permissions, submit requirements).
Actions change the site, write the journal and then publish events. `describe_*` put values into Gerrit's shapes.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server in the foreground until SIGTERM or SIGINT. See `--help`."""
    from trunkline.dev.review.serving import run

    return run(sys.argv[1:] if argv is None else argv)
