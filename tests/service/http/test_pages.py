"""Everything but generations: who may ask, reports, models, health, the schema."""

import re
from typing import get_args

import pytest

from ledger.events import EventsQuery
from ledger.values import CostBasis
from router.faults import Outcome
from router.receipt import RouterFacts
from service.http.operations import OPERATIONS
from service.parts import Readiness
from tests.service.http.scripted import an_edge, raw_exchange


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4000", "127.0.0.1:80", "127.8.9.1", "[::1]:4000", "[::1]"])
async def test_loopback_names_are_answered(host):
    async with an_edge() as (_, client):
        assert (await client.get("/health/live", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.1", "[::2]", "192.168.0.1", "@localhost"],
)
async def test_other_names_are_refused_everywhere(host):
    async with an_edge() as (edge, client):
        for path in ("/health/live", "/v1/models", "/nowhere", "/schema"):
            answer = await client.get(path, headers={"host": host})
            assert answer.status_code == 403, path
        answer = await client.post("/generate", json={"prompt": "x"}, headers={"host": host})
        assert answer.status_code == 403
        assert edge.gateway.calls == []


async def test_a_page_of_another_origin_is_refused_and_our_own_is_not():
    async with an_edge() as (edge, client):
        body = {"prompt": "x"}
        for origin in ("https://evil.example", "null", f"http://localhost:{edge.port}", "http://127.0.0.1:1"):
            answer = await client.post("/generate", json=body, headers={"origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), origin
            assert "access-control-allow-origin" not in answer.headers
        assert edge.gateway.calls == []
        assert (await client.post("/generate", json=body, headers={"origin": edge.url})).status_code == 200


async def test_a_preflight_promises_nothing():
    async with an_edge() as (_, client):
        headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        answer = await client.options("/generate", headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer fk_1"}, {"authorization": "bearer  fk_1"}, {"x-api-key": "fk_1"}]
)
async def test_a_key_that_is_none_of_ours_is_not_known(headers):
    async with an_edge() as (edge, client):
        answer = await client.post("/generate", json={"prompt": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        vendors = await client.post("/v1/chat/completions", json={}, headers=headers)
        assert vendors.json()["error"]["type"] == "authentication_error"
        assert edge.gateway.calls == []
        assert (await client.get("/health/live", headers=headers)).status_code == 200


async def test_a_key_of_another_kind_is_ignored():
    async with an_edge() as (_, client):
        headers = {"authorization": "Bearer sk-1", "x-api-key": "sk-ant-1"}
        assert (await client.post("/generate", json={"prompt": "x"}, headers=headers)).status_code == 200


async def test_the_spend_report_is_asked_for_what_the_query_says():
    async with an_edge() as (edge, client):
        query = "since=2026-11-01&until=2026-11-21T09:00:00%2B02:00&group_by=model,day,model&workflow=summarise"
        answer = await client.get(f"/ledger/spend?{query}")
        assert answer.json()["group_by"] == ["model", "day"]
        asked = edge.reports.query
        assert (asked.since_ms, asked.until_ms) == (1_793_491_200_000, 1_795_244_400_000)
        assert asked.filters == {"workflow": "summarise"}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("since=yesterday", "since"),
        ("since=2026-11-02&until=2026-11-01", "until"),
        ("group_by=modle", "group_by"),
        ("grup_by=model", "grup_by"),
        ("format=xml", "format"),
        ("model=a&model=b", "model"),
        ("group_by=model&top=0", "top"),
        ("outcome=nonsense", "outcome"),
        ("outcome=", "outcome"),
        ("basis=guessed", "basis"),
        ("hour=2026-11-21T09:30:00Z", "hour"),
        ("day=2026-11-31", "day"),
        ("day=24h", "day"),
        ("month=2026-11-21", "month"),
    ],
)
async def test_a_query_that_makes_no_sense_is_named(query, param):
    async with an_edge() as (_, client):
        answer = await client.get(f"/ledger/spend?{query}")
        assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (400, "invalid_request", param)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "/ledger/spend?outcome=nonsense",
            "outcome: unknown outcome 'nonsense'; there are ok, rate_limited, connect_failed",
        ),
        ("/ledger/generations?outcome=abort", "outcome: unknown outcome 'abort'; did you mean aborted?"),
        (
            "/ledger/spend?basis=nonsense",
            "basis: unknown basis 'nonsense'; there are provider_reported, priced_usage, estimated, unknown, free",
        ),
        ("/ledger/latency?month=11", "month: must be as reports write it, like 2026-11"),
        ("/ledger/generations?hour=2026-11-21", "hour: must be as reports write it, like 2026-11-21T09:00:00Z"),
    ],
)
async def test_a_filter_that_nothing_could_match_is_refused_with_what_there_is(path, said):
    async with an_edge() as (_, client):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert said in answer.json()["detail"]


async def test_filters_take_whatever_reports_write():
    async with an_edge() as (edge, client):
        moments = {"hour": "2026-11-21T09:00:00Z", "day": "2026-11-21", "month": "2026-11"}
        for given in (
            *({"outcome": outcome} for outcome in (*Outcome, "open")),
            *({"basis": basis} for basis in get_args(CostBasis)),
            {**moments, "user": "", "model": "gone:m"},
        ):
            answer = await client.get("/ledger/spend", params=given)
            assert (answer.status_code, edge.reports.query.filters) == (200, given)
        assert (await client.get("/ledger/latency", params=moments)).status_code == 200
        assert edge.reports.query.filters == moments


@pytest.mark.parametrize("path", ["/ledger/spend", "/ledger/latency", "/ledger/generations", "/alerts"])
@pytest.mark.parametrize(
    ("param", "moment"),
    [
        ("since", "999999d"),
        ("since", "99999999999d"),
        ("since", "0001-01-01T00:00:00%2B14:00"),
        ("until", "9999-12-31T23:59:59-14:00"),
    ],
)
async def test_a_moment_in_no_year_is_named(path, param, moment):
    async with an_edge() as (_, client):
        answer = await client.get(f"{path}?{param}={moment}")
        assert (answer.status_code, answer.json()["param"]) == (400, param)
        assert "the years 1 to 9999" in answer.json()["detail"]


async def test_a_report_comes_as_csv_too():
    pytest.importorskip("service.commands.tables", reason="the tables are another part's")
    async with an_edge() as (_, client):
        answer = await client.get("/ledger/latency?group_by=model&format=csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.status_code == 200


async def test_generations_are_found_or_not():
    async with an_edge() as (_, client):
        known = (await client.get("/ledger/generations/gen_known")).json()
        assert known == {"id": "gen_known", "trace_id": "4bf9", "trace_url": None}
        missing = await client.get("/ledger/generations/gen_lost")
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        assert missing.json()["detail"].endswith("GET /ledger/generations lists those that there are.")
        swapped = await client.get("/ledger/generations?since=2026-11-02&until=2026-11-01")
        assert (swapped.status_code, swapped.json()["param"]) == (400, "until")


async def test_a_page_of_calls_is_asked_for_what_the_query_says():
    async with an_edge() as (edge, client):
        answer = await client.get("/ledger/generations?since=2026-11-01&model=a:m&limit=7&before=5-gen_x")
        assert answer.json() == {"generations": [], "next": None}
        asked = edge.reports.query
        assert (asked.since_ms, asked.limit, asked.before) == (1_793_491_200_000, 7, "5-gen_x")
        assert asked.filters == {"model": "a:m"}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=1001", "limit"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("before=gen_x", "before"),
        ("by=m", "by"),
    ],
)
async def test_a_page_of_calls_that_makes_no_sense_is_named(query, param):
    async with an_edge() as (_, client):
        answer = await client.get(f"/ledger/generations?{query}")
        assert (answer.status_code, answer.json()["param"]) == (400, param)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", EventsQuery()),
        ("type=ceiling.threshold&state=dead", EventsQuery(types=("ceiling.threshold",), state="dead")),
        ("type=digest,&state=open&limit=7", EventsQuery(types=("digest",), acknowledged=False, limit=7)),
        ("since=2026-11-21&state=acknowledged", EventsQuery(since_ms=1_795_219_200_000, acknowledged=True)),
    ],
)
async def test_alerts_are_asked_for_by_type_state_and_time(query, wanted):
    async with an_edge() as (edge, client):
        answer = await client.get(f"/alerts?{query}")
        assert (answer.status_code, answer.json()) == (200, {"alerts": [], "next": None})
        assert edge.reports.query == wanted


async def test_alerts_that_make_no_sense_are_named_and_acknowledging_says_by_whom():
    async with an_edge() as (_, client):
        wrongs = {
            "type=ceiling.treshold": "ceiling.treshold",
            "state=lost": "lost",
            "before=x": "before",
            "limit=0": "limit",
        }
        for query, param in wrongs.items():
            answer = await client.get(f"/alerts?{query}")
            assert (answer.status_code, answer.json()["param"]) == (400, param)
        assert (await client.post("/alerts/evt_nothing/acknowledge")).status_code == 404
        answer = await client.post("/alerts/evt_of_anonymous/acknowledge")
        assert (answer.status_code, answer.json()) == (200, {"id": "evt_of_anonymous", "acknowledged": True})


async def test_readiness_goes_at_once_and_new_calls_are_turned_away_while_draining():
    async with an_edge() as (edge, client):
        assert (await client.get("/health/ready")).status_code == 200
        edge.readiness = Readiness(ready=False, draining=True, reason="SIGTERM")
        assert (await client.get("/health/ready")).status_code == 503
        answer = await client.post("/generate", json={"prompt": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert (await client.get("/health/live")).status_code == 200
        edge.readiness = Readiness(ready=False, reason="the ledger takes no writes")
        assert (await client.get("/health/ready")).json()["reason"] == "the ledger takes no writes"


async def test_unknown_paths_and_methods_are_problems_in_the_paths_own_shape():
    async with an_edge() as (_, client):
        native = await client.get("/nowhere")
        assert (native.status_code, native.json()["code"]) == (404, "not_found")
        for path in ("/v1/files", "/v1/nowhere"):
            vendors = await client.post(path, json={})
            assert (vendors.status_code, vendors.json()["error"]["code"]) == (404, "not_found")
        wrong = await client.get("/generate")
        assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
        assert "POST" in wrong.headers["allow"]
        assert (await client.get("/v1/chat/completions")).json()["error"]["code"] == "method_not_allowed"


async def test_a_request_is_told_to_telemetry_by_its_route_and_health_is_not():
    async with an_edge() as (edge, client):
        await client.get("/health/live")
        await client.get("/v1/models/nope")
        facts = await edge.telemetry.next()
        assert (facts.route, facts.path, facts.status) == ("/v1/models/{model_id}", "/v1/models/nope", 404)
        assert edge.telemetry.facts == []
        await client.head("/nowhere")
        facts = await edge.telemetry.next()
        assert (facts.method, facts.route, facts.error_code) == ("HEAD", "", "not_found")


async def test_a_path_says_which_methods_it_takes_whether_asked_or_refusing():
    async with an_edge() as (_, client):
        for path, allow in (
            ("/router/hints", "GET, HEAD, OPTIONS, POST"),
            ("/router/hints/openai:m", "DELETE, OPTIONS"),
            ("/v1/models/chat", "GET, HEAD, OPTIONS"),
            ("/generate", "OPTIONS, POST"),
        ):
            asked, refused = await client.options(path), await client.put(path)
            assert (asked.status_code, asked.headers["allow"], asked.content) == (204, allow, b"")
            assert (refused.status_code, refused.headers["allow"]) == (405, allow)


async def test_head_is_get_without_its_body():
    async with an_edge() as (edge, client):
        got, head = await client.get("/v1/models"), await client.head("/v1/models")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
        assert (await client.head("/generate")).status_code == 405
        assert (await client.head("/nowhere")).status_code == 404
        raw = await raw_exchange(edge.port, b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert raw.endswith(b"\r\n\r\n")


async def test_every_route_is_documented_and_every_documented_route_exists():
    async with an_edge() as (_, client):
        document = (await client.get("/schema")).json()
        assert document["openapi"] == "3.1.0"
        documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
        assert documented == {(operation.method.upper(), operation.path) for operation in OPERATIONS}
        for method, path in documented:
            answer = await client.request(method, path.replace("{id}", "chat"), json={} if method == "POST" else None)
            code = answer.json().get("code") if "json" in answer.headers["content-type"] else None
            # Of a call, a key, an alert and a file that are not there.
            is_nobodys = any(prefix in path for prefix in ("generations", "/keys/", "/alerts/", "/dashboard/"))
            assert (answer.status_code, code) != (404, "not_found") or is_nobodys
            assert answer.status_code != 405
        refs = set(re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', (await client.get("/schema")).text))
        assert refs <= document["components"]["schemas"].keys()
        for operation in OPERATIONS:
            keys = {name for way in document["paths"][operation.path][operation.method]["security"] for name in way}
            assert keys == (set() if operation.role is None else document["components"]["securitySchemes"].keys())


async def test_documented_examples_are_what_is_sent():
    async with an_edge() as (_, client):
        for operation in OPERATIONS:
            if operation.example is None or operation.path.startswith("/ledger"):
                continue  # Reports: of a real service, in tests/contracts/test_schemathesis.py.
            path = operation.path.replace("{id}", "chat")
            body = operation.body_example
            answer = (await client.request(operation.method.upper(), path, json=body)).json()
            assert answer.keys() == operation.example.keys(), path
            for name in ("attempts", "usage", "choices", "data", "telemetry", "deployments", "binding_ceiling"):
                if name in answer:
                    assert _shape(answer[name]) == _shape(operation.example[name]), (path, name)


async def test_the_schemas_page_needs_no_network():
    async with an_edge() as (_, client):
        page = await client.get("/schema", headers={"accept": "text/html,*/*"})
        assert page.headers["content-type"].startswith("text/html")
        assert "/v1/chat/completions" in page.text
        assert not re.search(r"(src|href)=.?(https?:)?//", page.text)


async def test_the_telemetry_block_is_as_documented():
    assert set(RouterFacts.__struct_fields__) == OPERATIONS[0].example["telemetry"].keys()


def _shape(value):
    match value:
        case dict():
            return {name: _shape(inner) for name, inner in value.items()}
        case list():
            return [_shape(value[0])] if value else []
        case _:
            return None
