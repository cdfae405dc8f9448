"""Pages for people: the changes, one change, its diff. Server-rendered, no script, dark and light."""

import re
import time
from collections.abc import Iterable
from html import escape

from trunkline.dev.review import query
from trunkline.dev.review.model import Account, Change, PatchSet, Refused
from trunkline.dev.review.repo import FileDiff
from trunkline.dev.review.rules import LABELS, requirements
from trunkline.dev.review.site import Site

_CHANGE = re.compile(r"^/(?:c/(?:(?P<project>.+)/\+/)?)?(?P<number>\d+)(?:/(?P<patchset>\d+))?/?$")
_MOST_LINES = 2000
_URL = re.compile(r"https?://[^\s<>&\"']+")

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d7dce2, #363b44); --soft: light-dark(#5b6571, #9aa4b2);
  --paper: light-dark(#fff, #16181d); --ink: light-dark(#1b1f24, #e6e9ee); --good: light-dark(#11763d, #58c88a);
  --bad: light-dark(#b3261e, #ff8a80); --plus: light-dark(#e3f6e9, #143524); --minus: light-dark(#fde8e6, #421c1a);
  --tint: light-dark(#f4f6f9, #1e2128); --link: light-dark(#0b57c2, #8ab8ff) }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
header, main { max-width: 76rem; margin: 0 auto; padding: .8rem 1rem }
header { border-bottom: 1px solid var(--line); display: flex; gap: 1.2rem; align-items: baseline; flex-wrap: wrap }
header form { margin-left: auto } input { font: inherit; padding: .2rem .5rem; width: 20rem; max-width: 100% }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
h1 { font-size: 1.3rem; margin: .6rem 0 } h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .5rem; vertical-align: top;
  border-bottom: 1px solid var(--line) } th { color: var(--soft); font-weight: 600 }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace }
.box { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; background: var(--tint); overflow-x: auto }
.soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
.mark { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; font-size: .85em; white-space: nowrap }
.diff span { display: block } .plus { background: var(--plus) } .minus { background: var(--minus) }
.hunk { color: var(--soft) } details { margin: .5rem 0 } summary { cursor: pointer }
.two { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); gap: 1rem }
@media (max-width: 45rem) { .two { grid-template-columns: 1fr } td.wide, th.wide { display: none } }
"""


async def page(site: Site, path: str, asked: dict[str, str], viewer: Account | None) -> str | None:
    """The page at a path, or None."""
    found = _CHANGE.match(path)
    if found:
        change = site.changes.get(int(found["number"]))
        if change is None or not site.may_see(change, viewer):
            return None
        return await _change_page(site, change, int(found["patchset"] or change.current.number))
    if path == "/" or path.startswith("/q/"):
        return await _list_page(site, path.removeprefix("/q/").strip("/") or asked.get("q", ""), viewer)
    return None


def _whole(title: str, words: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        '<header><b>Review</b><nav><a href="/">Open</a> · <a href="/q/status:merged">Merged</a> ·'
        ' <a href="/q/status:abandoned">Abandoned</a></nav>'
        f'<form action="/"><input name="q" aria-label="Search" placeholder="project:… status:open" value="{escape(words)}">'
        f"</form></header><main>{body}</main></body></html>"
    )


# ---------------------------------------------------------------------- lists


async def _list_page(site: Site, words: str, viewer: Account | None) -> str:
    text = words or "status:open"
    try:
        found, limit = await query.run(site, text, viewer)
    except Refused as refused:
        return _whole("Search", words, f'<h1>Search</h1><p class="bad">{escape(refused.text)}</p>')
    rows = "".join(_row(site, change) for change in found[: limit or 200])
    labels = "".join(f"<th>{escape(label)}</th>" for label in LABELS)
    head = f'<tr><th>Change</th><th>Subject</th><th class="wide">Owner</th><th>Project</th>{labels}'
    table = f'<table><thead>{head}<th class="wide">Updated</th></tr></thead><tbody>{rows}</tbody></table>'
    title = f"{len(found)} change{'s' if len(found) != 1 else ''}: {text}"
    return _whole(title, words, f"<h1>{escape(title)}</h1>" + (table if found else '<p class="soft">Nothing here.</p>'))


def _row(site: Site, change: Change) -> str:
    owner = site.accounts[change.owner]
    votes = "".join(f"<td>{_strongest(change, label)}</td>" for label in LABELS)
    return (
        f'<tr><td><a href="{site.change_url(change)}">{change.number}</a></td><td>{escape(change.subject)}'
        f" {_marks(change)}</td>"
        f'<td class="wide">{escape(owner.name or owner.username)}</td><td>{escape(change.project)} '
        f'<span class="soft">{escape(change.branch)}</span></td>{votes}'
        f'<td class="wide soft">{_when(change.updated)}</td></tr>'
    )


def _strongest(change: Change, label: str) -> str:
    values = [vote.value for vote in change.votes if vote.label == label and vote.value]
    return _value(max(values, key=lambda value: (abs(value), value < 0))) if values else ""


def _value(value: int) -> str:
    return f'<span class="{"good" if value > 0 else "bad"}">{value:+d}</span>'


def _marks(change: Change) -> str:
    flags = {"merged": change.status == "MERGED", "abandoned": change.status == "ABANDONED"}
    flags |= {"work in progress": change.is_wip, "private": change.is_private}
    words = [name for name, is_set in flags.items() if is_set]
    words += [change.topic] if change.topic else []
    words += [f"#{hashtag}" for hashtag in change.hashtags]
    return " ".join(f'<span class="mark">{escape(word)}</span>' for word in words)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


# ---------------------------------------------------------------------- one change


async def _change_page(site: Site, change: Change, number: int) -> str | None:
    if not 1 <= number <= len(change.patchsets):
        return None
    patchset = change.patchsets[number - 1]
    repo = site.repo(change.project)
    commit = await repo.commit(patchset.sha)
    diffs = await repo.diff(patchset.sha, 1)
    base = commit.parents[0] if commit.parents else "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    text = await repo.git("diff", "--no-color", "-M", base, patchset.sha)
    body = (
        f"<h1>{change.number}: {escape(change.subject)} {_marks(change)}</h1>"
        f'<p class="soft">{escape(change.project)} {escape(change.branch)} · {_who(site, change.owner)} ·'
        f" {_patchset_links(site, change, patchset)}</p>"
        f'<div class="two"><div><div class="box"><pre>{_linked(commit.message)}</pre></div></div>'
        f"<div>{_votes(site, change)}</div></div>"
        f"{_chain(site, change, patchset)}"
        f"<h2>Files</h2>{_files(diffs)}"
        f"<details {'open' if len(text) < 20000 else ''}><summary>Diff</summary>{_diff(text)}</details>"
        f"<h2>Messages</h2>{_messages(site, change)}"
        f'<p class="soft">git fetch {escape(site.url)}/{escape(change.project)} {change.ref(patchset.number)}</p>'
    )
    return _whole(f"{change.number}: {change.subject}", "", body)


def _who(site: Site, number: int | None) -> str:
    account = site.accounts.get(number or 0)
    return escape(account.name or account.username) if account else "the server"


def _patchset_links(site: Site, change: Change, shown: PatchSet) -> str:
    links = [
        f"<b>{entry.number}</b>"
        if entry is shown
        else f'<a href="{site.change_url(change)}/{entry.number}">{entry.number}</a>'
        for entry in change.patchsets
    ]
    return f"patch set {' '.join(links)} <code>{shown.sha[:10]}</code>"


def _votes(site: Site, change: Change) -> str:
    rows = []
    for requirement in requirements(change):
        if requirement.status == "NOT_APPLICABLE":
            continue
        good = requirement.status in {"SATISFIED", "FORCED"}
        given = ", ".join(
            f"{_value(vote.value)} {_who(site, vote.account)}"
            for vote in change.votes
            if vote.label == requirement.name
        )
        rows.append(
            f'<tr><td class="{"good" if good else "bad"}">{"✓" if good else "✗"} {escape(requirement.name)}</td>'
            f"<td>{given}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _chain(site: Site, change: Change, patchset: PatchSet) -> str:
    parents = [site.by_sha.get((change.project, sha)) for sha in patchset.parents]
    above = [site.changes[found[0]] for found in parents if found]
    below = [c for c in site.changes.values() if c.project == change.project and patchset.sha in c.current.parents]
    rows = [f"<li>stands on {_link(site, other)}</li>" for other in above]
    rows += [f"<li>carries {_link(site, other)}</li>" for other in below]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def _link(site: Site, change: Change) -> str:
    return f'<a href="{site.change_url(change)}">{change.number}</a> {escape(change.subject)} {_marks(change)}'


def _files(diffs: list[FileDiff]) -> str:
    rows = "".join(
        f'<tr><td>{diff.status} {escape(diff.path)}</td><td class="good">+{diff.inserted}</td>'
        f'<td class="bad">−{diff.deleted}</td></tr>'
        for diff in diffs
    )
    return f"<table>{rows}</table>" if rows else '<p class="soft">No files.</p>'


def _diff(text: str) -> str:
    lines = text.split("\n")
    shown = "".join(f'<span class="{_kind(line)}">{escape(line) or " "}</span>' for line in lines[:_MOST_LINES])
    more = f'<p class="soft">… {len(lines) - _MOST_LINES} more lines</p>' if len(lines) > _MOST_LINES else ""
    return f'<div class="box diff"><pre>{shown}</pre>{more}</div>'


def _kind(line: str) -> str:
    if line.startswith(("+++", "---", "@@", "diff ", "index ")):
        return "hunk"
    return {"+": "plus", "-": "minus"}.get(line[:1], "same")


def _messages(site: Site, change: Change) -> str:
    return "".join(
        f'<div class="box"><b>{_who(site, message.author)}</b> <span class="soft">{_when(message.at)}</span>'
        f"<pre>{_linked(message.text)}</pre>{_comments(change, message.id)}</div><br>"
        for message in change.messages
    )


def _comments(change: Change, message_id: str) -> str:
    found: Iterable[str] = (
        f"<p><code>{escape(comment.path)}{f':{comment.line}' if comment.line else ''}</code>"
        f" {'<span class=bad>unresolved</span>' if comment.is_unresolved else ''}</p><pre>{_linked(comment.text)}</pre>"
        for comment in change.comments
        if comment.message_id == message_id
    )
    return "".join(found)


def _linked(text: str) -> str:
    return _URL.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', escape(text))
