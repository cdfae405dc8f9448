"""REST below /accounts/ and /groups/."""

from typing import Any

import msgspec

from trunkline.dev.review import describe_rest as shape
from trunkline.dev.review.model import Account, Group, Refused
from trunkline.dev.review.rest import NOTHING, Answer, Asked, route
from trunkline.dev.review.site import is_ssh_key


def _account(asked: Asked) -> Account:
    return asked.site.find_account(asked.parts["account"], asked.account)


def _own_or_administrator(asked: Asked, account: Account) -> None:
    if asked.by.id != account.id and not asked.site.may(asked.by, "administrate"):
        raise Refused(403, "administrate server not permitted")


@route("GET", "accounts")
async def find(asked: Asked) -> Answer:
    words = (asked.one("q", "query") or "").lower()
    found = [
        shape.account(asked.site, account.id, True)
        for account in asked.site.accounts.values()
        if any(words in text.lower() for text in (account.username, account.name, account.email))
    ]
    return Answer(found[: int(asked.one("n", "limit") or 10)])


@route("GET", "accounts/{account}")
async def one(asked: Asked) -> Answer:
    return Answer(shape.account(asked.site, _account(asked).id, True))


@route("GET", "accounts/{account}/detail")
async def detail(asked: Asked) -> Answer:
    account = _account(asked)
    return Answer({"registered_on": shape.when(account.registered)} | shape.account(asked.site, account.id, True))


@route("PUT", "accounts/{account}")
async def create(asked: Asked) -> Answer:
    site, username, fields = asked.site, asked.parts["account"], asked.fields
    if not site.may(asked.by, "administrate"):
        raise Refused(403, "create account not permitted")
    if site.account_by_name(username):
        raise Refused(409, "account exists")
    key = str(fields.get("ssh_key") or "").strip()
    if key and not is_ssh_key(key):
        raise Refused(400, "Invalid SSH Key")
    groups = [site.find_group(str(name)) for name in fields.get("groups") or ()]
    name, email = str(fields.get("name") or ""), str(fields.get("email") or "")
    account = site.new_account(username, name=name, email=email, ssh_keys=(key,) if key else ())
    if fields.get("http_password"):
        site.set_password(account, str(fields["http_password"]))
    for group in groups:
        site.set_members(group, (*group.members, account.id))
    return Answer(shape.account(site, account.id, True), 201)


@route("GET|PUT", "accounts/{account}/name")
async def name(asked: Asked) -> Answer:
    account = _account(asked)
    if asked.method == "PUT":
        _own_or_administrator(asked, account)
        account = msgspec.structs.replace(account, name=str(asked.fields.get("name", "")))
        asked.site.save(account)
    return Answer(account.name)


@route("PUT|DELETE", "accounts/{account}/active")
async def active(asked: Asked) -> Answer:
    account = _account(asked)
    if not asked.site.may(asked.by, "administrate"):
        raise Refused(403, "modify account not permitted")
    asked.site.save(msgspec.structs.replace(account, is_active=asked.method == "PUT"))
    return NOTHING if asked.method == "DELETE" else Answer("", 201)


@route("GET", "accounts/{account}/sshkeys")
async def keys(asked: Asked) -> Answer:
    account = _account(asked)
    _own_or_administrator(asked, account)
    return Answer([_key(number, key) for number, key in enumerate(account.ssh_keys, 1)])


@route("POST", "accounts/{account}/sshkeys")
async def add_key(asked: Asked) -> Answer:
    account = _account(asked)
    _own_or_administrator(asked, account)
    key = str(asked.body).strip() if isinstance(asked.body, str) else ""
    if not is_ssh_key(key):
        raise Refused(400, "Invalid SSH Key")
    asked.site.save(msgspec.structs.replace(account, ssh_keys=(*account.ssh_keys, key)))
    return Answer(_key(len(account.ssh_keys) + 1, key), 201)


def _key(number: int, key: str) -> dict[str, Any]:
    algorithm, encoded, *comment = key.split(None, 2)
    shown: dict[str, Any] = {"seq": number, "ssh_public_key": key, "encoded_key": encoded, "algorithm": algorithm}
    return shown | {"comment": comment[0] if comment else "", "valid": True}


@route("PUT", "accounts/{account}/password.http")
async def password(asked: Asked) -> Answer:
    account = _account(asked)
    _own_or_administrator(asked, account)
    given = str(asked.fields.get("http_password") or "")
    if not given:
        raise Refused(400, "http_password is required")
    is_new = not account.password
    asked.site.set_password(account, given)
    return Answer(given, 201 if is_new else 200)


@route("GET", "accounts/{account}/groups")
async def groups_of(asked: Asked) -> Answer:
    account = _account(asked)
    return Answer([_group(group) for group in asked.site.groups.values() if account.id in group.members])


@route("GET", "accounts/{account}/capabilities")
async def capabilities(asked: Asked) -> Answer:
    account = _account(asked)
    found: dict[str, Any] = {"emailReviewers": True}
    if asked.site.may(account, "administrate"):
        found["administrateServer"] = True
    if asked.site.may(account, "stream events"):
        found["streamEvents"] = True
    return Answer(found | {"queryLimit": {"min": 0, "max": 500}})


# ---------------------------------------------------------------------- groups


def _group(group: Group) -> dict[str, Any]:
    shown: dict[str, Any] = {"url": f"#/admin/groups/uuid-{group.uuid}", "options": {}}
    if group.description:
        shown["description"] = group.description
    shown |= {"group_id": group.id, "owner": group.name, "owner_id": group.uuid}
    return shown | {"created_on": shape.when(group.created), "id": group.uuid, "name": group.name}


@route("GET", "groups")
async def groups(asked: Asked) -> Answer:
    return Answer({group.name: _group(group) for group in asked.site.groups.values()})


@route("GET", "groups/{group}")
async def group(asked: Asked) -> Answer:
    return Answer(_group(asked.site.find_group(asked.parts["group"])))


@route("PUT", "groups/{group}")
async def create_group(asked: Asked) -> Answer:
    site, name = asked.site, asked.parts["group"]
    if not site.may(asked.by, "administrate"):
        raise Refused(403, "create group not permitted")
    if name in site.groups:
        raise Refused(409, f"group '{name}' already exists")
    members = [site.find_account(str(word)).id for word in asked.fields.get("members") or ()]
    made = site.new_group(name, str(asked.fields.get("description") or ""))
    return Answer(_group(site.set_members(made, members)), 201)


@route("GET", "groups/{group}/members")
async def members(asked: Asked) -> Answer:
    found = asked.site.find_group(asked.parts["group"])
    return Answer([shape.account(asked.site, number, True) for number in found.members])


@route("PUT|DELETE", "groups/{group}/members/{account}")
async def member(asked: Asked) -> Answer:
    site = asked.site
    if not site.may(asked.by, "administrate"):
        raise Refused(403, "not permitted")
    found, account = site.find_group(asked.parts["group"]), _account(asked)
    if asked.method == "DELETE":
        site.set_members(found, [number for number in found.members if number != account.id])
        return NOTHING
    is_new = account.id not in found.members
    site.set_members(found, (*found.members, account.id))
    return Answer(shape.account(site, account.id, True), 201 if is_new else 200)
