"""Who a bearer token says its holder is: signature, issuer, audience, age.

One authenticator for each `[auth NAME]` section; the token's issuer chooses it. A failure carries the name of the
error that clients show and the texts of the `WWW-Authenticate` header.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import jwt
import msgspec
from jwt.algorithms import get_default_algorithms

Fetch = Callable[[str], Awaitable[Any]]  # url → parsed JSON

_DRIVERS = {"HS256", "RS256", "RS256withJWKS", "OpenIDConnect"}
_KEYS_FRESH_S = 300.0


class TokenError(Exception):
    """A token that proves nothing. `error` is the name on the wire."""

    status = 401

    def __init__(self, error: str, description: str, realm: str = "", status: int = 401) -> None:
        super().__init__(description)
        self.error, self.description, self.realm, self.status = error, description, realm, status


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as far as a token proves it."""

    uid: str
    claims: Mapping[str, Any]
    realm: str
    allow_override: bool  # the claim zuul.admin counts
    uid_claim: str = "sub"


class Section(msgspec.Struct, frozen=True):
    """One `[auth NAME]` section."""

    name: str
    driver: str
    realm: str
    client_id: str
    issuer_id: str
    audience: str
    default: bool = False
    allow_authz_override: bool = False
    uid_claim: str = "sub"
    max_validity_time_s: float | None = None
    skew_s: float = 0.0
    secret: str = ""
    public_key: str = ""
    keys_url: str = ""
    scope: str = "openid profile"
    authority: str = ""
    load_user_info: bool = True

    @classmethod
    def read(cls, name: str, options: Mapping[str, str]) -> Section:
        """From the options of a configuration section. Raises ValueError with what is missing."""
        driver = options.get("driver", "")
        if driver not in _DRIVERS:
            raise ValueError(f"[auth {name}] driver must be one of {', '.join(sorted(_DRIVERS))}, not {driver!r}")
        needed = {"HS256": ["secret"], "RS256": ["public_key"], "RS256withJWKS": ["keys_url"]}.get(driver, [])
        for key in ["client_id", "issuer_id", "realm", *needed]:
            if not options.get(key):
                raise ValueError(f"[auth {name}] needs {key}")
        public_key = options.get("public_key", "")
        if public_key and not public_key.lstrip().startswith("-----"):
            with open(public_key) as file:
                public_key = file.read()
        validity = options.get("max_validity_time", "")
        return cls(
            name=name,
            driver=driver,
            realm=options["realm"],
            client_id=options["client_id"],
            issuer_id=options["issuer_id"],
            audience=options.get("audience") or options["client_id"],
            default=_truth(options.get("default", "")),
            allow_authz_override=_truth(options.get("allow_authz_override", "")),
            uid_claim=options.get("uid_claim", "sub"),
            max_validity_time_s=float(validity) if validity else None,
            skew_s=float(options.get("skew", "0") or 0),
            secret=options.get("secret", ""),
            public_key=public_key,
            keys_url=options.get("keys_url", ""),
            scope=options.get("scope", "openid profile"),
            authority=options.get("authority") or options["issuer_id"],
            load_user_info=_truth(options.get("load_user_info", "true")),
        )

    def capability(self) -> dict[str, Any]:
        """What `info` tells clients of this realm."""
        out: dict[str, Any] = {
            "authority": self.authority,
            "client_id": self.client_id,
            "type": "JWT",
            "driver": self.driver,
        }
        if self.driver == "OpenIDConnect":
            out |= {"scope": self.scope, "load_user_info": self.load_user_info}
        return out


def _truth(text: str) -> bool:
    return str(text).strip().lower() in ("1", "true", "yes", "on")


class Authenticators:
    """All `[auth]` sections: `await caller(header)` says who asks, or raises TokenError."""

    def __init__(self, sections: Sequence[Section], fetch: Fetch | None = None) -> None:
        self.sections = tuple(sections)
        self._by_issuer = {section.issuer_id: section for section in sections}
        self._fetch = fetch
        self._keys: dict[str, tuple[float, Mapping[str, Any]]] = {}

    @classmethod
    def read(cls, sections: Mapping[str, Mapping[str, str]], fetch: Fetch | None = None) -> Authenticators:
        """From `{NAME: options}` of the sections `[auth NAME]`."""
        return cls([Section.read(name, options) for name, options in sections.items()], fetch)

    def __bool__(self) -> bool:
        return bool(self.sections)

    @property
    def default_realm(self) -> str | None:
        for section in self.sections:
            if section.default:
                return section.realm
        return self.sections[0].realm if self.sections else None

    async def caller(self, header: str | None) -> Caller:
        """The holder of the token in an Authorization header."""
        realm = self.default_realm or ""
        if header is None:
            raise TokenError("MissingAuthError", "Missing authorization header", realm)
        kind, _, token = header.strip().partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise TokenError("InvalidAuthFormat", "Malformed authorization header: expected 'Bearer TOKEN'", realm)
        return await self.holder(token.strip())

    async def holder(self, token: str) -> Caller:
        """The holder of a token."""
        realm = self.default_realm or ""
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise TokenError("AuthTokenUndecodedException", f"The token cannot be decoded: {error}", realm) from None
        section = self._by_issuer.get(str(unverified.get("iss", "")))
        if section is None:
            raise TokenError("IssuerUnknownError", f"Issuer {unverified.get('iss')!r} is unknown", realm)
        claims = self._decode(token, section, *await self._key(section, header))
        _check_age(claims, section)
        if section.uid_claim not in claims:
            raise TokenError("MissingUIDClaimError", f"The token lacks the claim {section.uid_claim!r}", section.realm)
        _check_admin_claim(claims, section)
        uid = str(claims[section.uid_claim])
        return Caller(uid, claims, section.realm, section.allow_authz_override, section.uid_claim)

    def _decode(self, token: str, section: Section, key: Any, algorithm: str) -> Mapping[str, Any]:
        required = ["aud", "iss", "exp", "sub"]
        if section.max_validity_time_s is not None:
            required.append("iat")
        realm = section.realm
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=section.audience,
                issuer=section.issuer_id,
                leeway=section.skew_s,
                options={"require": required, "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise TokenError("TokenExpiredError", "The token has expired", realm) from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenError("MissingClaimError", str(error), realm) from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
            raise TokenError("IncorrectAudienceError", str(error), realm) from None
        except jwt.InvalidSignatureError:
            raise TokenError("AuthTokenInvalidSignatureException", "The signature is not valid", realm) from None
        except jwt.PyJWTError as error:
            raise TokenError("AuthTokenUndecodedException", str(error), realm) from None
        return claims

    async def _key(self, section: Section, header: Mapping[str, Any]) -> tuple[Any, str]:
        """(verification key, the one algorithm that may have been used)."""
        if section.driver == "HS256":
            return section.secret, "HS256"
        if section.driver == "RS256":
            return section.public_key, "RS256"
        try:
            keys = await self._published_keys(section)
            for entry in keys.get("keys", []):
                if entry.get("kid") == header.get("kid"):
                    algorithm = entry.get("alg", "RS256")
                    return get_default_algorithms()[algorithm].from_jwk(entry), algorithm
        except (KeyError, ValueError, TypeError, OSError, jwt.PyJWTError) as error:
            raise TokenError("JWKSException", f"Cannot read the issuer's keys: {error}", section.realm, 400) from None
        raise TokenError("JWKSException", f"The issuer has no key {header.get('kid')!r}", section.realm, 400)

    async def _published_keys(self, section: Section) -> Mapping[str, Any]:
        fresh, keys = self._keys.get(section.name, (0.0, {}))
        if time.monotonic() < fresh:
            return keys
        if self._fetch is None:
            raise OSError("this service may not fetch keys")
        url = section.keys_url
        if not url:
            discovery = await self._fetch(section.authority.rstrip("/") + "/.well-known/openid-configuration")
            url = discovery["jwks_uri"]
        published: Mapping[str, Any] = await self._fetch(url)
        self._keys[section.name] = (time.monotonic() + _KEYS_FRESH_S, published)
        return published


def _check_age(claims: Mapping[str, Any], section: Section) -> None:
    issued = claims.get("iat")
    if issued is None:
        return
    now = time.time()
    if not isinstance(issued, (int, float)) or issued - section.skew_s > now:
        raise TokenError("AuthTokenUnauthorizedException", "The token was issued in the future", section.realm)
    if section.max_validity_time_s is not None and now - issued > section.max_validity_time_s:
        raise TokenError("TokenExpiredError", "The token is older than this service accepts", section.realm)


def _check_admin_claim(claims: Mapping[str, Any], section: Section) -> None:
    ours = claims.get("zuul")
    admin = ours.get("admin") if isinstance(ours, dict) else None
    if admin is None:
        return
    if not isinstance(admin, list) and admin != "*":
        raise TokenError(
            "IncorrectZuulAdminClaimError", "The claim zuul.admin must be a list of tenants", section.realm
        )
    if not section.allow_authz_override:
        raise TokenError(
            "UnauthorizedZuulAdminClaimError",
            f"Issuer {section.issuer_id!r} may not name administrators in its tokens",
            section.realm,
        )
