"""The changes of the demo: what is pushed, on top of what, and what must become of each. Data and edits, no I/O but files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Edit = Callable[[Path], None]


@dataclass(frozen=True)
class DemoChange:
    """`name` is the demo's own word for it. `on` is the change that it is a git child of, `needs` one that it depends on.

    `lands` is what must happen to it, `because` why. `check` is the vote that its own test must give.
    """

    name: str
    project: str
    subject: str
    edit: Edit
    lands: bool
    because: str
    on: str | None = None
    needs: str | None = None
    check: int = 1


def write(path: str, text: str) -> Edit:
    def edit(place: Path) -> None:
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    return edit


def replace(path: str, old: str, new: str) -> Edit:
    def edit(place: Path) -> None:
        text = (place / path).read_text()
        assert old in text, f"{path} has no {old!r}"
        (place / path).write_text(text.replace(old, new))

    return edit


def both(*edits: Edit) -> Edit:
    def edit(place: Path) -> None:
        for one in edits:
            one(place)

    return edit


STATS = '''"""How well a cache does."""


def hit_rate(hits, misses):
    """Between 0 and 1; 0 when nothing was asked for."""
    asked = hits + misses
    return hits / asked if asked else 0.0
'''
STATS_TEST = """import unittest

from cachetools import stats


class StatsTest(unittest.TestCase):
    def test_hit_rate(self):
        self.assertEqual(stats.hit_rate(3, 1), 0.75)
        self.assertEqual(stats.hit_rate(0, 0), 0.0)
"""
SAVED = '''

def saved_seconds(hits, misses, seconds_each):
    """The time that a cache has saved, from its hit rate."""
    return hit_rate(hits, misses) * (hits + misses) * seconds_each
'''
SAVED_TEST = """
    def test_saved_seconds(self):
        self.assertEqual(stats.saved_seconds(3, 1, 2), 6.0)
"""
RECEIPT = '''"""What a customer is given."""

from shop import catalog


def receipt(names):
    lines = [f"{name:10} {catalog.price(name):6}" for name in names]
    return "\\n".join([*lines, f"{'total':10} {catalog.total(names):6}"])
'''
RECEIPT_TEST = """import unittest

from shop import receipt


class ReceiptTest(unittest.TestCase):
    def test_the_total_stands_at_the_end(self):
        self.assertTrue(receipt.receipt(["tea", "cup"]).endswith("1650"))
"""
VERSION_TEST = """import unittest

from shop import app


class VersionTest(unittest.TestCase):
    def test_the_version_is_told(self):
        status, body = app.answer("/version")
        self.assertEqual(status, 200)
        self.assertIn("version", body)
"""
ITEMS_ROUTE = '    if path == "/items":\n        return 200, catalog.ITEMS\n'
THREADS_JOB = """- job:
    name: cachetools-threads
    parent: unittest
    description: The tests that use threads, by themselves.
    vars:
      unittest_command: python3 -m unittest tests.test_threading
      unittest_environment:
        PYTHONPATH: src

- project:
    check:
      jobs:
        - cachetools-unit
        - cachetools-threads
    gate:
      jobs:
        - cachetools-unit
        - cachetools-threads
"""
OLD_STANZA = """- project:
    check:
      jobs:
        - cachetools-unit
    gate:
      jobs:
        - cachetools-unit
"""

CHANGES: tuple[DemoChange, ...] = (
    DemoChange(
        "hit-rate",
        "cachetools",
        "Tell how well a cache does",
        both(write("src/cachetools/stats.py", STATS), write("tests/test_stats.py", STATS_TEST)),
        lands=True,
        because="first of a series",
    ),
    DemoChange(
        "saved-time",
        "cachetools",
        "Tell how much time a cache saves",
        both(
            lambda place: write("src/cachetools/stats.py", (place / "src/cachetools/stats.py").read_text() + SAVED)(
                place
            ),
            lambda place: write("tests/test_stats.py", (place / "tests/test_stats.py").read_text() + SAVED_TEST)(place),
        ),
        lands=True,
        because="its git child, tested on top of it",
        on="hit-rate",
    ),
    DemoChange(
        "rename",
        "shop",
        "Call the price of a basket by its name",
        both(
            replace("shop/catalog.py", "def total(names)", "def grand_total(names)"),
            replace("shop/basket.py", "catalog.total(", "catalog.grand_total("),
        ),
        lands=True,
        because="nothing it was tested with uses the old name",
    ),
    DemoChange(
        "receipt",
        "shop",
        "Print receipts",
        both(write("shop/receipt.py", RECEIPT), write("tests/test_receipt.py", RECEIPT_TEST)),
        lands=False,
        because="passes alone; with the rename ahead it calls what is gone",
    ),
    DemoChange(
        "version",
        "shop",
        "Tell the version",
        both(
            replace(
                "shop/app.py",
                ITEMS_ROUTE,
                ITEMS_ROUTE + '    if path == "/version":\n        return 200, {"version": version()}\n',
            ),
            write("tests/test_version.py", VERSION_TEST),
        ),
        lands=True,
        because="rebuilt without those that failed ahead of it",
    ),
    DemoChange(
        "customer",
        "shop-integration",
        "Have the customer look at the version",
        replace("tests/customer.py", '"/items", "/healthz"', '"/items", "/version", "/healthz"'),
        lands=True,
        because="depends on a change of another repository, two servers talk to each other",
        needs="version",
    ),
    DemoChange(
        "escape",
        "simplejson",
        "Write newlines shorter",
        both(
            replace("simplejson/encoder.py", "    '\\n': '\\\\n',", "    '\\n': '\\\\r',"),
        ),
        lands=False,
        because="breaks the package's own tests, in the middle of the queue",
        check=-1,
    ),
    DemoChange(
        "prices",
        "shop",
        "Tell the prices",
        replace(
            "shop/app.py",
            ITEMS_ROUTE,
            ITEMS_ROUTE + '    if path == "/prices":\n        return 200, sorted(catalog.ITEMS.values())\n',
        ),
        lands=False,
        because="edits the lines that a change ahead edits: merge conflict",
    ),
    DemoChange(
        "threads",
        "cachetools",
        "Test the threads by themselves",
        replace(".zuul.yaml", OLD_STANZA, THREADS_JOB),
        lands=True,
        because="edits its own jobs: tested with the new definition before it lands",
    ),
)
