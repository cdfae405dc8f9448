"""Gerrit's query language, the part that drivers, git-review and people use. Pure but for the messages of commits."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from trunkline.dev.review.model import Account, Change, Refused
from trunkline.dev.review.site import Site

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\)) | (?P<minus>-(?=[\w({"]))
      | (?P<word>(?:[\w-]+:)?(?:\{[^{}]*\}|"[^"]*"|[^\s(){}"]+))
    )""",
    re.VERBOSE,
)
_AGE = re.compile(r"^(\d+)\s*([a-z]+)$")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "mon": 30 * 86400, "y": 365 * 86400}

Test = Callable[[Change], bool]


class BadQuery(Refused):
    def __init__(self, text: str) -> None:
        super().__init__(400, text)


class Query(msgspec.Struct, frozen=True):
    test: Test
    limit: int | None


def parse(site: Site, text: str, viewer: Account | None, messages: dict[int, str]) -> Query:
    """`messages`: the commit message of every change that `message:` may be asked of. Raises BadQuery."""
    return _Parser(site, text, viewer, messages).query()


class _Parser:
    def __init__(self, site: Site, text: str, viewer: Account | None, messages: dict[int, str]) -> None:
        self._site = site
        self._viewer = viewer
        self._messages = messages
        self._limit: int | None = None
        self._tokens = _tokens(text)
        self._at = 0

    def query(self) -> Query:
        test = self._any_of() if self._tokens else _everything
        if self._at < len(self._tokens):
            raise BadQuery(f"line 1:{self._at} no viable alternative at input '{self._tokens[self._at][1]}'")
        return Query(test, self._limit)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "<EOF>")

    def _any_of(self) -> Test:
        tests = [self._all_of()]
        while self._peek() == ("word", "OR"):
            self._at += 1
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda change: any(test(change) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._peek()[0] in {"word", "open", "minus"} and self._peek() != ("word", "OR"):
            if self._peek() == ("word", "AND"):
                self._at += 1
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda change: all(test(change) for test in tests)

    def _one(self) -> Test:
        kind, text = self._peek()
        self._at += 1
        if kind == "minus" or (kind, text) == ("word", "NOT"):
            test = self._one()
            return lambda change: not test(change)
        if kind == "open":
            test = self._any_of()
            if self._peek()[0] != "close":
                raise BadQuery(f"line 1:{self._at} no viable alternative at input '{self._peek()[1]}'")
            self._at += 1
            return test
        if kind != "word":
            raise BadQuery(f"line 1:{self._at - 1} no viable alternative at input '{text}'")
        return self._operator(text)

    def _operator(self, word: str) -> Test:
        name, colon, value = word.partition(":")
        if not colon or not re.fullmatch(r"[\w-]+", name):
            return self._bare(_unquoted(word))
        value = _unquoted(value)
        match name:
            case "project" | "p":
                return lambda change: change.project == value
            case "projects":
                return lambda change: change.project.startswith(value)
            case "branch":
                branch = value.removeprefix("refs/heads/")
                return lambda change: change.branch == branch
            case "ref":
                return lambda change: f"refs/heads/{change.branch}" == value
            case "change":
                return self._bare(value)
            case "status":
                return self._status(value, word)
            case "is":
                return self._is(value, word)
            case "has":
                return self._has(value, word)
            case "topic":
                return lambda change: change.topic == value
            case "intopic":
                return lambda change: value in change.topic
            case "hashtag":
                return lambda change: value.lstrip("#") in change.hashtags
            case "owner" | "o":
                return self._person(value, lambda change: (change.owner,))
            case "uploader":
                return self._person(value, lambda change: (change.current.uploader,))
            case "reviewer" | "r":
                return self._person(value, lambda change: change.reviewers)
            case "message" | "m" | "comment":
                return self._message(value)
            case "commit":
                return lambda change: any(patchset.sha.startswith(value) for patchset in change.patchsets)
            case "label":
                return _label(value)
            case "after" | "since":
                start = _time(value)
                return lambda change: change.updated >= start
            case "before" | "until":
                end = _time(value)
                return lambda change: change.updated <= end
            case "age":
                youngest = datetime.now(UTC).timestamp() - _age(value)
                return lambda change: change.updated <= youngest
            case "limit":
                self._limit = int(value)
                return _everything
            case _:
                raise BadQuery(f"Unsupported operator {word}")

    def _bare(self, value: str) -> Test:
        """A change as people name it: number, Change-Id, triplet or commit; anything else is looked for in its words."""
        if value.isdigit():
            return lambda change: change.number == int(value)
        if re.fullmatch(r"I[0-9a-fA-F]{4,40}", value):
            return lambda change: change.change_id.startswith(value)
        if "~" in value:
            numbers = {change.number for change in self._site.find_changes(value, self._viewer)}
            return lambda change: change.number in numbers
        if re.fullmatch(r"[0-9a-f]{7,40}", value):
            return lambda change: any(patchset.sha.startswith(value) for patchset in change.patchsets)
        message = self._message(value)
        return lambda change: value in change.project or value == change.topic or message(change)

    def _status(self, value: str, word: str) -> Test:
        match value.lower():
            case "open" | "new" | "pending":
                return lambda change: change.is_open
            case "closed":
                return lambda change: not change.is_open
            case "merged" | "abandoned" as status:
                return lambda change: change.status == status.upper()
        raise BadQuery(f"Unrecognized value: {word}")

    def _is(self, value: str, word: str) -> Test:
        match value.lower():
            case "wip":
                return lambda change: change.is_wip
            case "private":
                return lambda change: change.is_private
            case "owner":
                return self._person("self", lambda change: (change.owner,))
            case "reviewer":
                return self._person("self", lambda change: change.reviewers)
        return self._status(value, word)

    def _has(self, value: str, word: str) -> Test:
        match value:
            case "unresolved":
                from trunkline.dev.review.rules import has_unresolved

                return has_unresolved
            case "hashtag":
                return lambda change: bool(change.hashtags)
        raise BadQuery(f"Unsupported operator {word}")

    def _person(self, value: str, of: Callable[[Change], tuple[int, ...]]) -> Test:
        if value == "self" and self._viewer is None:
            raise Refused(403, "Must be signed-in to use this operator")
        try:
            number = self._site.find_account(value, self._viewer).id
        except Refused:
            raise BadQuery(f"Account '{value}' not found") from None
        return lambda change: number in of(change)

    def _message(self, value: str) -> Test:
        """All words of the value, next to each other, as a full-text index finds them."""
        wanted = _words(value)
        return lambda change: _contains(_words(self._messages.get(change.number, "")), wanted)


def _everything(change: Change) -> bool:
    return True


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    text = text.strip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            raise BadQuery(f"line 1:{position} no viable alternative at character '{text[position]}'")
        assert found.lastgroup is not None
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] + text[-1] in {"{}", '""'} else text


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _contains(words: list[str], wanted: list[str]) -> bool:
    size = len(wanted)
    return size == 0 or any(words[start : start + size] == wanted for start in range(len(words) - size + 1))


def _label(value: str) -> Test:
    found = re.match(r"^([\w-]+?)(?:(>=|<=|=|>|<)?\s*([+-]?\d+|MAX|MIN))?(?:,.*)?$", value)
    if not found:
        raise BadQuery(f"Invalid label expression: {value}")
    from trunkline.dev.review.rules import LABELS

    name, sign, wanted = found[1], found[2] or "=", found[3] or "1"
    label = LABELS.get(name)
    if label is None:
        return lambda change: False
    number = {"MAX": label.maximum, "MIN": label.minimum}.get(wanted) if wanted in {"MAX", "MIN"} else int(wanted)
    assert number is not None
    compare: dict[str, Callable[[int], bool]] = {
        "=": lambda value: value == number,
        ">": lambda value: value > number,
        "<": lambda value: value < number,
        ">=": lambda value: value >= number,
        "<=": lambda value: value <= number,
    }
    return lambda change: any(vote.label == name and compare[sign](vote.value) for vote in change.votes)


def _time(text: str) -> float:
    """`2026-11-24[ 15:16:02[.123][ +0000]]`, UTC unless a zone is given."""
    found = re.match(r"^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(\.\d+)?)?(?: ?([+-])(\d\d):?(\d\d))?$", text.strip())
    if not found:
        raise BadQuery(f"date/time: {text} is not a date")
    at = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00:00'}").replace(tzinfo=UTC)
    if found[4]:
        offset = timedelta(hours=int(found[5]), minutes=int(found[6]))
        at -= offset if found[4] == "+" else -offset
    return at.timestamp()


def _age(text: str) -> float:
    found = _AGE.match(text.strip())
    unit = next((size for name, size in _UNITS.items() if found and found[2].startswith(name)), None)
    if not found or unit is None:
        raise BadQuery(f"Invalid age: {text}")
    return int(found[1]) * unit


async def run(site: Site, text: str, viewer: Account | None) -> tuple[list[Change], int | None]:
    """Visible changes that the query finds, last updated first, and the limit that it sets."""
    visible = [change for change in site.changes.values() if site.may_see(change, viewer)]
    messages: dict[int, str] = {}
    if re.search(r"\b(m|message|comment):|(^|[\s(])[^\s:()]+($|[\s)])", text):
        for change in visible:
            messages[change.number] = (await site.repo(change.project).commit(change.current.sha)).message
    query = parse(site, text, viewer, messages)
    found = [change for change in visible if query.test(change)]
    return sorted(found, key=lambda change: (-change.updated, -change.number)), query.limit
