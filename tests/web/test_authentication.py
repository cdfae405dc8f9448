"""Tokens and what they allow."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.web.serving import AUTH, SECTION, admin, play, token
from trunkline.web import Authenticators
from trunkline.web.source import ApiRoot, Authorisation, TenantInfo

PROJECT = "/api/tenant/meadow/project/meadow/web"
ENQUEUE = {"pipeline": "check", "change": "1202,3"}


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, "MissingAuthError"),
        ("Basic abc", "InvalidAuthFormat"),
        ("Bearer nonsense", "AuthTokenUndecodedException"),
        ("Bearer " + token(iss="somebody"), "IssuerUnknownError"),
        ("Bearer " + token(aud="else"), "IncorrectAudienceError"),
        ("Bearer " + token(exp=time.time() - 5), "TokenExpiredError"),
        ("Bearer " + token(sub=None), "MissingClaimError"),
        ("Bearer " + token(iat=time.time() + 86400, exp=time.time() + 90000), "AuthTokenUnauthorizedException"),
        ("Bearer " + token(zuul={"admin": "meadow"}), "IncorrectZuulAdminClaimError"),
        ("Bearer " + token()[:-4] + "AAAA", "AuthTokenInvalidSignatureException"),
    ],
)
def test_each_bad_token_is_told_what_is_wrong_with_it(header, error):
    async def scene(site, source):
        headers = {"Authorization": header} if header else {}
        status, body, said = await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=headers)
        assert (status, body["error"], body["realm"]) == (401, error, "meadow")
        assert said["WWW-Authenticate"].startswith(f'Bearer realm="meadow" error="{error}" error_description=')
        assert source.calls == []

    play(scene, AUTH)


def test_an_unsigned_token_proves_nothing():
    claims = {"iss": "meadow-issuer", "aud": "meadow-client", "sub": "x", "exp": time.time() + 60}
    forged = jwt.encode(claims | {"zuul": {"admin": ["meadow"]}}, None, algorithm="none")

    async def scene(site, source):
        status, _, _ = await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers={"Authorization": f"Bearer {forged}"})
        assert status == 401

    play(scene, AUTH)


def test_naming_administrators_needs_the_operators_trust():
    auth = Authenticators.read({"meadow": {**SECTION, "allow_authz_override": "false"}})

    async def scene(site, source):
        _, body, _ = await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=admin())
        assert body["error"] == "UnauthorizedZuulAdminClaimError"

    play(scene, auth)


def test_an_administrator_enqueues_dequeues_and_promotes():
    async def scene(site, source):
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=admin()))[:2] == (200, True)
        branch = {"pipeline": "check", "ref": "refs/heads/main", "oldrev": None, "newrev": None}
        assert (await site.post(f"{PROJECT}/enqueue", branch, headers=admin()))[:2] == (200, True)
        assert (await site.post(f"{PROJECT}/dequeue", ENQUEUE, headers=admin()))[:2] == (200, True)
        body = {"pipeline": "gate", "changes": ["1205,2", "1206,1"]}
        assert (await site.post("/api/tenant/meadow/promote", body, headers=admin()))[:2] == (200, True)
        assert source.calls == [
            ("enqueue", "meadow/web", ENQUEUE, None),
            ("enqueue", "meadow/web", branch, "ann"),
            ("dequeue", "meadow/web", ENQUEUE),
            ("promote", "gate", ["1205,2", "1206,1"]),
        ]

    play(scene, AUTH)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{PROJECT}/enqueue", {"change": "1,1"}, 400),
        (f"{PROJECT}/enqueue", {"pipeline": "check"}, 400),
        (f"{PROJECT}/enqueue", {"pipeline": "nope", "change": "1,1"}, 400),
        (f"{PROJECT}/enqueue", [], 400),
        ("/api/tenant/meadow/project/unknown/enqueue", ENQUEUE, 404),
        (f"{PROJECT}/dequeue", {**ENQUEUE, "ref": "refs/heads/main"}, 400),
        (f"{PROJECT}/autohold", {"job": "web-unit", "count": 1}, 400),
        ("/api/tenant/meadow/promote", {"pipeline": "gate", "changes": "1,1"}, 400),
        ("/api/tenant/meadow/state", {"trigger_queue_paused": "yes"}, 400),
        ("/api/tenant/nowhere/promote", {"pipeline": "gate", "changes": []}, 404),
    ],
)
def test_what_an_action_lacks_is_a_bad_request(path, body, status):
    async def scene(site, source):
        assert (await site.post(path, body, headers=admin()))[0] == status

    play(scene, AUTH)


def test_a_token_for_another_tenant_is_forbidden_here_and_says_nothing():
    async def scene(site, source):
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=admin("other")))[:2] == (403, "")

    play(scene, AUTH)


def test_a_hold_lives_from_its_request_to_its_deletion():
    body = {"job": "web-unit", "count": 1, "reason": "look", "node_hold_expiration": 3600, "change": None, "ref": None}

    async def scene(site, source):
        assert (await site.post(f"{PROJECT}/autohold", body, headers=admin()))[:2] == (200, True)
        assert (await site.get("/api/tenant/meadow/autohold/0000000001"))[0] == 200
        assert (await site.ask("DELETE", "/api/tenant/meadow/autohold/0000000001"))[0] == 401
        assert (await site.ask("DELETE", "/api/tenant/meadow/autohold/0000000001", headers=admin()))[0] == 204
        assert (await site.get("/api/tenant/meadow/autohold/0000000001"))[0] == 404

    play(scene, AUTH)


def test_the_state_of_a_tenant_keeps_absent_switches_and_clears_absent_texts():
    async def scene(site, source):
        body = {"trigger_queue_paused": True, "reason": "x" * 5000}
        assert (await site.post("/api/tenant/meadow/state", body, headers=admin()))[:2] == (200, None)
        assert source.calls == [("state", {"trigger_queue_paused": True, "reason": "x" * 4096, "info": None})]

    play(scene, AUTH)


def test_authorizations_tell_an_administrator_and_a_guest_apart():
    async def scene(site, source):
        path = "/api/tenant/meadow/authorizations"
        assert (await site.get(path))[0] == 401
        _, body, _ = await site.get(path, headers=admin())
        assert body["zuul"]["admin"] is True
        assert body["zuul"]["scope"] == ["meadow"]
        assert body["zuul"]["permissions"]["enqueue"] is True
        _, body, _ = await site.get(path, headers={"Authorization": f"Bearer {token()}"})
        assert body == {"zuul": {"admin": False, "permissions": {"read": True}, "scope": ["meadow"]}}

    play(scene, AUTH)


def test_roles_grant_what_they_name_where_their_conditions_hold():
    roles = {"release": {"enqueue": {"conditions": {"project": "meadow/web"}}}}
    rules = {"releasers": ({"groups": "release"},)}

    async def scene(site, source):
        source.tenant_infos["meadow"] = TenantInfo("meadow", role_mappings={"releasers": ("release",)})
        source.rules = Authorisation(rules=rules, roles=roles)
        member = {"Authorization": f"Bearer {token(groups=['release', 'x'])}"}
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=member))[0] == 200
        elsewhere = "/api/tenant/meadow/project/meadow/api/enqueue"
        claimed = {**ENQUEUE, "project": "meadow/web"}  # the path says which project it is, not the body
        assert (await site.post(elsewhere, claimed, headers=member))[0] == 403
        assert (await site.post(f"{PROJECT}/dequeue", ENQUEUE, headers=member))[0] == 403
        stranger = {"Authorization": f"Bearer {token(groups=['guests'])}"}
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=stranger))[0] == 403

    play(scene, AUTH)


def test_a_closed_tenant_is_read_by_those_its_rules_name():
    async def scene(site, source):
        source.tenant_infos["meadow"] = TenantInfo("meadow", access_rules=("staff",), admin_rules=("boss",))
        source.rules = Authorisation(rules={"staff": ({"team": "{tenant.name}"},), "boss": ({"zuul_uid": "eve"},)})
        for path in ("/api/tenant/meadow/status", "/t/meadow/status", "/logs/meadow/abc/", "/api/tenant/meadow/events"):
            assert (await site.get(path))[0] == 401, path
        staff = {"Authorization": f"Bearer {token(team='meadow')}"}
        guest = {"Authorization": f"Bearer {token(team='other')}"}
        assert (await site.get("/api/tenant/meadow/status", headers=staff))[0] == 200
        assert (await site.get("/api/tenant/meadow/status", headers=guest))[0] == 403
        assert (await site.get("/t/meadow/status", headers=guest))[0] == 403
        assert (await site.get("/api/tenant/meadow/info"))[1]["info"]["capabilities"]["auth"]["read_protected"] is True
        boss = {"Authorization": f"Bearer {token(sub='eve')}"}
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=boss))[0] == 200
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=staff))[0] == 403

    play(scene, AUTH)


def test_signing_in_on_the_page_lets_one_read_and_no_more():
    async def scene(site, source):
        source.tenant_infos["meadow"] = TenantInfo("meadow", access_rules=("staff",))
        source.rules = Authorisation(rules={"staff": ({"team": "a"},)})
        status, _, headers = await site.ask("POST", "/t/meadow/sign-in", data={"token": token(team="a")})
        assert (status, headers["Location"]) == (302, "/t/meadow/status")
        assert "HttpOnly" in headers["Set-Cookie"]
        assert "SameSite=Strict" in headers["Set-Cookie"]
        cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
        assert (await site.get("/t/meadow/status", headers=cookie))[0] == 200
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=cookie))[0] == 401
        assert (await site.ask("POST", "/t/meadow/sign-in", data={"token": "x"}))[0] == 401

    play(scene, AUTH)


def test_the_root_may_be_closed_as_well():
    async def scene(site, source):
        source.rules = Authorisation(root=ApiRoot(access_rules=("staff",)), rules={"staff": ({"team": "a"},)})
        assert (await site.get("/api/tenants"))[0] == 401
        assert (await site.get("/api/info"))[0] == 200
        member = {"Authorization": f"Bearer {token(team='a')}"}
        assert (await site.get("/api/tenants", headers=member))[1] == [{"name": "meadow"}]
        star = {"Authorization": f"Bearer {token(zuul={'admin': ['*']})}"}
        assert (await site.get("/api/tenants", headers=star))[0] == 200

    play(scene, AUTH)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_rs256_and_published_keys_are_understood(key):
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "one"}
    documents = {
        "https://id/.well-known/openid-configuration": {"jwks_uri": "https://id/keys"},
        "https://id/keys": {"keys": [jwk]},
    }

    async def fetch(url):
        return documents[url]

    common = {"client_id": "c", "allow_authz_override": "true"}
    auth = Authenticators.read(
        {
            "pem": {**common, "driver": "RS256", "realm": "a", "issuer_id": "pem", "public_key": public.decode()},
            "oidc": {**common, "driver": "OpenIDConnect", "realm": "b", "issuer_id": "https://id"},
        },
        fetch,
    )

    async def scene(site, source):
        for issuer, kid, status in (("pem", None, 200), ("https://id", "one", 200), ("https://id", "two", 400)):
            claims = {"iss": issuer, "aud": "c", "sub": "ann", "exp": time.time() + 60, "zuul": {"admin": ["meadow"]}}
            signed = jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid} if kid else None)
            headers = {"Authorization": f"Bearer {signed}"}
            assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=headers))[0] == status
        confused = jwt.encode({"iss": "pem", "aud": "c", "sub": "a", "exp": time.time() + 60}, "k" * 40, "HS256")
        headers = {"Authorization": f"Bearer {confused}"}
        assert (await site.post(f"{PROJECT}/enqueue", ENQUEUE, headers=headers))[0] == 401
        realms = (await site.get("/api/info"))[1]["info"]["capabilities"]["auth"]["realms"]
        assert realms["b"] == {
            "authority": "https://id",
            "client_id": "c",
            "type": "JWT",
            "driver": "OpenIDConnect",
            "scope": "openid profile",
            "load_user_info": True,
        }

    play(scene, auth)
