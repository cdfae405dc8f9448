"""May this caller do that? Pure: the tenant file's rules and roles, a caller's claims, a request's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.web.source import ApiRoot, Authorisation, TenantInfo
from trunkline.web.tokens import Caller

ADMIN, READ = "admin", "read"
PERMISSIONS = (
    "autohold",
    "build-image",
    "delete-image-build-artifact",
    "delete-image-upload",
    "dequeue",
    "enqueue",
    "modify-node",
    "modify-nodeset-request",
    "promote",
    "set-tenant-state",
    "upload-image",
    "validate-image-upload",
)


def needs_token(scope: TenantInfo | ApiRoot) -> bool:
    """Whether even reading needs a token."""
    return bool(scope.access_rules) or not scope.anonymous_read_access


def may(
    permission: str,
    scope: TenantInfo | ApiRoot,
    caller: Caller,
    authorisation: Authorisation,
    values: Mapping[str, Any],
) -> bool:
    """Whether the caller has a permission (`read` for reading) in a tenant or at the root of the API."""
    if _overrides(scope, caller):
        return True
    name = scope.name if isinstance(scope, TenantInfo) else "<root>"
    if scope.role_mappings:
        if permission == READ and scope.anonymous_read_access:
            return True
        return any(
            _role_grants(role, permission, authorisation, values)
            for rule, roles in scope.role_mappings.items()
            if rule_matches(rule, caller, authorisation, name)
            for role in roles
        )
    admin_rules = scope.admin_rules if isinstance(scope, TenantInfo) else ()
    if any(rule_matches(rule, caller, authorisation, name) for rule in admin_rules):
        return True
    if permission != READ:
        return False
    if not scope.access_rules:
        return scope.anonymous_read_access
    return any(rule_matches(rule, caller, authorisation, name) for rule in scope.access_rules)


def granted(scope: TenantInfo | ApiRoot, caller: Caller, authorisation: Authorisation) -> dict[str, Any]:
    """The answer of the authorizations routes, without its envelope."""
    is_tenant = isinstance(scope, TenantInfo)
    name = scope.name if isinstance(scope, TenantInfo) else "*"
    out: dict[str, Any] = {"permissions": {}, "scope": [name]}
    held = [p for p in (*PERMISSIONS, READ) if may(p, scope, caller, authorisation, _ANY)]
    out["permissions"] = dict.fromkeys(held, True)
    if scope.role_mappings:
        if not is_tenant:
            out["scope"] = ["<root>"]
        return out
    out["admin"] = _overrides(scope, caller) or bool(is_tenant and set(PERMISSIONS) <= set(held))
    return out


def _overrides(scope: TenantInfo | ApiRoot, caller: Caller) -> bool:
    """The issuer is trusted to name administrators, and names this caller."""
    ours = caller.claims.get("zuul")
    admin = ours.get("admin") if isinstance(ours, dict) else None
    if not caller.allow_override or admin is None:
        return False
    if isinstance(scope, TenantInfo):
        return isinstance(admin, list) and scope.name in admin
    return admin == "*" or (isinstance(admin, list) and "*" in admin)


class _Anything(dict[str, Any]):
    """Stands for a request of which nothing is known yet: every condition could hold."""


_ANY = _Anything()


def _role_grants(role: str, permission: str, authorisation: Authorisation, values: Mapping[str, Any]) -> bool:
    if role == ADMIN:
        return True
    if role == READ:
        return permission == READ
    permissions: Mapping[str, Any] = authorisation.roles.get(role, {})
    grant = permissions.get(permission)
    if grant is None and permission == READ:
        return bool(permissions)  # a permission implies access
    if isinstance(grant, dict):
        if isinstance(values, _Anything):
            return True
        return all(values.get(key) == wanted for key, wanted in grant.get("conditions", {}).items())
    return bool(grant)


def rule_matches(rule: str, caller: Caller, authorisation: Authorisation, tenant: str) -> bool:
    """Whether one of the rule's conditions holds for the caller's claims."""
    claims = dict(caller.claims) | {"zuul_uid": caller.uid}
    return any(
        bool(condition) and all(_claim_matches(claim, wanted, claims, tenant) for claim, wanted in condition.items())
        for condition in authorisation.rules.get(rule, ())
    )


def _claim_matches(claim: str, wanted: Any, claims: Mapping[str, Any], tenant: str) -> bool:
    if isinstance(wanted, dict):
        return claim in claims and _nested_matches(wanted, claims[claim], tenant)
    found: Any = claims
    if claim in claims:
        found = claims[claim]
    else:
        for step in claim.removeprefix("$.").split("."):
            if not isinstance(found, dict) or step not in found:
                return False
            found = found[step]
    return _value_matches(_filled(wanted, tenant), found)


def _nested_matches(wanted: Any, found: Any, tenant: str) -> bool:
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return False
        if not wanted:
            return not found
        return all(key in found and _nested_matches(value, found[key], tenant) for key, value in wanted.items())
    if isinstance(wanted, list):
        values = [_filled(value, tenant) for value in wanted]
        return all(value in values for value in found) if isinstance(found, list) else found in values
    return _value_matches(_filled(wanted, tenant), found)


def _value_matches(wanted: Any, found: Any) -> bool:
    if isinstance(found, list):
        return wanted in found
    return isinstance(found, (str, bool)) and wanted == found


def _filled(value: Any, tenant: str) -> Any:
    return value.replace("{tenant.name}", tenant) if isinstance(value, str) else value
