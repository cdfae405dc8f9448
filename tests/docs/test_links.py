"""What the documents point at exists: links, headings, paths of this repository, commands, benches, keys of zuul.conf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OURS = re.compile(r"(src|tests|docs|bench)/[\w./-]*\w|(requirements[\w.-]*\.lock|pyproject\.toml)")


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(document)):
        if re.match(r"\w+:", target):
            continue
        name, _, heading = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{document.name}: there is no {target}"
        if heading and path.suffix == ".md":
            assert heading in set(_anchors(path)), f"{document.name}: {path.name} has no heading for #{heading}"


def test_every_path_in_backticks_exists(document: Path) -> None:
    for word in re.findall(r"`([^`\n]+)`", _prose(document)):
        if OURS.fullmatch(word):
            assert (ROOT / word).exists(), f"{document.name}: there is no {word}"


def test_every_command_is_known(document: Path) -> None:
    for word in re.findall(r"(?:^|[`\s/])(?:trunkline|tl) ([a-z]+)", "\n".join(_commands(document))):
        assert word in COMMANDS, f"{document.name}: there is no command `{word}`"


def test_every_bench_is_there(document: Path) -> None:
    for name in re.findall(r"tl bench ([a-z_]+)", document.read_text()):
        assert (ROOT / "bench" / f"{name}.py").exists(), f"{document.name}: there is no bench {name}"


def test_every_key_that_is_read_is_documented() -> None:
    told = "".join((ROOT / "docs" / name).read_text() for name in ("operations.md", "rest.md", "fleet.md"))
    read = re.compile(r"""(?:settings|self)\.(?:get|number|flag|file)\(\s*"(\w+)",\s*"(\w+)\"""")
    for source in sorted((ROOT / "src/trunkline/services").glob("*.py")):
        for section, key in read.findall(source.read_text()):
            assert re.search(rf"\b{key}\b", told), f"no document names [{section}] {key}, read by {source.name}"


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    for page in (ROOT / "docs/adr").glob("0*.md"):
        assert f"({page.name})" in listed, f"docs/adr/README.md does not list {page.name}"


def _prose(document: Path) -> str:
    """The text without fenced blocks, in which brackets and paths mean other things."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.S | re.M)


def _commands(document: Path) -> Iterator[str]:
    """Where commands stand: indented or fenced lines and words in backticks."""
    text = document.read_text()
    for block in re.findall(r"^```(?:sh|ini)\n(.*?)^```", text, flags=re.S | re.M):
        yield from (line.partition(" #")[0] for line in block.splitlines())
    for line in _prose(document).splitlines():
        if line.startswith("    "):
            yield line.partition(" #")[0]
        yield from re.findall(r"`((?:\./)?(?:trunkline|tl) [^`]+)`", line)


def _anchors(document: Path) -> Iterator[str]:
    """The anchors of a document's headings, as repository hosts make them."""
    for title in re.findall(r"^#+ (.+)$", _prose(document), flags=re.M):
        plain = re.sub(r"[^\w\s-]", "", title.replace("`", "").lower())
        yield plain.strip().replace(" ", "-")
