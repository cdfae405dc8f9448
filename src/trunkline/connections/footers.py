"""Depends-On footers of commit messages."""

import re

_DEPENDS_ON = re.compile(r"^\s*Depends-On:\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)


def depends_on_urls(message: str) -> tuple[str, ...]:
    """What the message's Depends-On footers name, in their order, each once; anywhere in the message, as in Zuul."""
    return tuple(dict.fromkeys(_DEPENDS_ON.findall(message)))
