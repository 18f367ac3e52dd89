"""Every path of the application and everyone who may ask: who is let in, and how the others are told."""

import re

import pytest
from litestar.routes import HTTPRoute

from ledger.apikeys import ROLES
from service.app import create_app
from service.auth.issuing import KeyWish, new_key
from service.auth.secret import new_secret
from service.http.access import _ROLES, role_for
from tests.service.http.scripted import Edge, Limits, a_keyring, an_edge

# CONTRACT §3: who may what.
WHO = {
    "/generate": "caller",
    "/v1/": "caller",
    "/estimate": "caller",
    "/ledger/": "reader",
    "/live": "reader",
    "/router/status": "reader",
    "/router/hints": "admin",
    "/keys": "admin",
    "/alerts": "reader",
    "/alerts/": "admin",
    "/metrics": "reader",
    "/health/": None,
    "/schema": None,
    "/": "reader",
    # Code, no data: the page that asks a browser for its key loads it.
    "/dashboard/": None,
}


async def made(keyring, **wish):
    """A secret of a new key."""
    now_ms = keyring._now_ms()
    secret = new_secret()
    key = new_key(KeyWish(name="a key", **wish), secret, resolve=lambda name: None, now_ms=now_ms)
    await keyring.create(key, secret)
    return secret


def real_operations():
    """(method, path template) of all that the application answers."""
    app = create_app(Edge(Limits()).parts)
    for route in app.routes:
        assert isinstance(route, HTTPRoute), route
        for method in route.methods:
            if method != "OPTIONS":
                yield method, route.path_format


def contracts_role(path):
    found = [prefix for prefix in WHO if path == prefix or (prefix != "/" and path.startswith(prefix))]
    return WHO[max(found, key=len)]


def test_every_operation_has_the_role_that_the_contract_gives_it():
    operations = list(real_operations())
    assert len(operations) == len(_ROLES)
    for method, template in operations:
        assert (method, template.partition("{")[0]) in _ROLES, f"{method} {template} has no role: say it in OPERATIONS"
        assert role_for(method, template) == contracts_role(template), (method, template)


def test_an_operation_that_nobody_spoke_of_is_for_admins():
    assert role_for("GET", "/new") == "admin"


async def test_every_operation_lets_in_whoever_may_and_nobody_else():
    keyring = a_keyring(are_needed=True)
    secrets = {role: (await made(keyring, role=role)).text.decode() for role in ROLES}
    over = await made(keyring, role="admin")
    await keyring.revoke(over.key_id)
    strangers = {"no key": "", "unknown": new_secret().text.decode(), "revoked": over.text.decode(), "bad": "fk_x"}
    async with an_edge(keyring=keyring) as (_, client):
        for method, template in real_operations():
            needed, path = contracts_role(template), re.sub(r"\{[^}]*\}", "x", template)
            for sent in {method, "HEAD"} if method == "GET" else {method}:
                for who, secret in (strangers | secrets).items():
                    headers = {"authorization": f"Bearer {secret}"} if secret else {}
                    answer = await client.request(sent, path, headers=headers)
                    if needed is None:
                        expected = 0
                    elif who in strangers:
                        expected = 401
                    else:
                        expected = 0 if ROLES.index(who) >= ROLES.index(needed) else 403
                    told = answer.status_code if answer.status_code in {401, 403} else 0
                    assert told == expected, (sent, path, who, answer.text)
                    assert ("www-authenticate" in answer.headers) == (told == 401)


@pytest.mark.parametrize("shown", ["authorization", "x-api-key"])
async def test_refusals_are_in_each_paths_own_shape(shown):
    keyring = a_keyring(are_needed=True)
    caller = (await made(keyring)).text.decode()

    def with_key(secret):
        return {shown: f"Bearer {secret}" if shown == "authorization" else secret}

    async with an_edge(keyring=keyring) as (edge, client):
        unknown = with_key(new_secret().text.decode())
        native = await client.post("/generate", json={"prompt": "x"}, headers=unknown)
        assert (native.status_code, native.json()["code"]) == (401, "unauthenticated")
        vendors = await client.post("/v1/chat/completions", json={}, headers=unknown)
        assert (vendors.status_code, vendors.json()["error"]["type"]) == (401, "authentication_error")
        assert (await client.get("/ledger/spend", headers=with_key(caller))).json()["code"] == "forbidden"
        assert edge.gateway.calls == []
        # Whoever has a key hears that a path is not there; a stranger does not hear even that.
        assert (await client.get("/nowhere")).status_code == 401
        assert (await client.get("/nowhere", headers=with_key(caller))).status_code == 404
        assert (await client.get("/generate", headers=with_key(caller))).status_code == 405
        assert (await client.options("/keys", headers=with_key(caller))).status_code == 204
        assert (await client.options("/keys")).status_code == 401
        two = await client.get("/v1/models", headers={"authorization": f"Bearer {caller}", "x-api-key": "sk-1"})
        assert (two.status_code, two.json()["error"]["code"]) == (401, "unauthenticated")


async def test_a_revoked_and_an_expired_key_say_so_to_who_holds_them_only():
    keyring = a_keyring()
    secret = await made(keyring)
    async with an_edge(keyring=keyring) as (_, client):
        headers = {"x-api-key": secret.text.decode()}
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
        await keyring.revoke(secret.key_id)
        answer = await client.get("/v1/models", headers=headers)
        assert "was revoked" in answer.json()["error"]["message"]
        assert "`farthing keys create`" in answer.json()["error"]["message"]
        # The right id with another secret is a key like any unknown one.
        forged = new_secret().text.decode()
        unknown = await client.get("/v1/models", headers={"x-api-key": forged})
        assert "was revoked" not in unknown.text
        assert "`farthing keys list`" in unknown.json()["error"]["message"]


async def test_with_a_key_any_name_of_the_service_will_do_and_without_one_only_its_own():
    keyring = a_keyring()
    secret = (await made(keyring)).text.decode()
    async with an_edge(keyring=keyring) as (edge, client):
        foreign = {"host": "gateway.example", "origin": "https://page.example"}
        body = {"prompt": "x"}
        assert (await client.post("/generate", json=body, headers=foreign)).status_code == 403
        keyed = await client.post("/generate", json=body, headers={**foreign, "x-api-key": secret})
        assert keyed.status_code == 200
        assert not [name for name in keyed.headers if name.startswith("access-control")]
        keyring.are_needed = True
        assert (await client.get("/health/live", headers=foreign)).status_code == 200
        assert (await client.post("/generate", json=body, headers={"host": "localhost"})).status_code == 401
        assert len(edge.gateway.calls) == 1


async def test_a_call_is_attributed_to_its_key_and_bound_to_its_models():
    keyring = a_keyring()
    async with an_edge(keyring=keyring) as (edge, client):
        wish = {"name": "jobs", "team": "research", "routes": ["hub:org/model:free"]}
        secret = (await client.post("/keys", json=wish)).json()
        headers = {"authorization": f"Bearer {secret['secret']}", "idempotency-key": "once"}
        assert (await client.post("/generate", json={"prompt": "x"}, headers=headers)).status_code == 200
        (call,) = edge.gateway.calls
        assert (call.attribution.key_id, call.attribution.team) == (secret["id"], "research")
        assert call.allowed_routes == ("hub:org/model:free",)
        assert call.idempotency.caller == secret["id"]
        listed = (await client.get("/v1/models", headers=headers)).json()["data"]
        assert [model["id"] for model in listed] == ["hub:org/model:free"]
        shown = await client.get("/v1/models/chat", headers=headers)
        assert (shown.status_code, shown.json()["error"]["code"]) == (403, "forbidden")
        assert "'chat'" in shown.json()["error"]["message"]
        unknown = (await client.get("/v1/models/nope", headers=headers)).json()["error"]
        assert (unknown["code"], "chat" in unknown["message"]) == ("unknown_model", False)


async def test_a_secret_in_the_wrong_place_is_told_to_nobody():
    secret = new_secret().text.decode()
    async with an_edge() as (edge, client):
        answer = await client.delete(f"/keys/{secret}")
        assert (answer.status_code, secret in answer.text) == (404, False)
        facts = await edge.telemetry.next()
        assert (facts.route, facts.path) == ("/keys/{key_id}", f"/keys/fk_{secret[3:15]}_…")


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "team": "x" * 257}, "team"),
        ({"name": "a", "role": "root"}, "role"),
        ({"name": "a", "ceilings": ["50"]}, "ceilings"),
        ({"name": "a", "ceilings": ["-1/day"]}, "ceilings"),
        ({"name": "a", "ceilings": ["1/day", "2/day"]}, "ceilings"),
        ({"name": "a", "ceilings": ["1e99/day"]}, "ceilings"),
        ({"name": "a", "ceilings": ["1.2.3/day"]}, "ceilings"),
        ({"name": "a", "expires": "soon"}, "expires"),
        ({"name": "a", "expires": "2020-01-01"}, "expires"),
        ({"name": "a", "expires": "99999999999999d"}, "expires"),
        ({"name": "a", "expires": "9999999d"}, "expires"),
        ({"name": "a", "expires": "9999-12-31T23:59:59-14:00"}, "expires"),
        ({"name": "a", "secret": "mine"}, "secret"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_at_its_field(wish, param):
    async with an_edge() as (_, client):
        answer = await client.post("/keys", json=wish)
        assert answer.status_code == 400
        assert param in answer.text
        assert (await client.get("/keys")).json() == {"keys": []}
