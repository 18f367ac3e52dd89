"""A service tells of what happens in it: by the call that makes it so, or by its watch, and `/alerts` shows it."""

import asyncio

from service.watch import watch
from tests.processes import one_route
from tests.service.http.scripted import a_service
from tests.upstream import answer, scripted_upstream, status

MORE = """
warn_at = [0.001, 1.0]
[ledger]
url = "sqlite:{folder}/farthing.db"
disk_low_mb = 1000000000
[cache]
enabled = false
[[providers]]
name = "other"
dialect = "openai"
base_url = "{url}"
[[routes]]
name = "dear"
targets = ["other:made-up"]
"""
REFUSED = status(401, {"error": {"message": "CANARY", "type": "auth", "code": "invalid_api_key"}})


async def told_types(client, wanted):
    """The events by type, once all of these were told."""
    async with asyncio.timeout(20):
        while True:
            alerts = (await client.get("/alerts")).json()["alerts"]
            if wanted <= {alert["type"] for alert in alerts}:
                assert "CANARY" not in str(alerts)
                return {alert["type"]: alert for alert in alerts}
            await asyncio.sleep(0.02)


async def test_what_happens_in_a_service_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "TICK_S", 0.02)
    async with scripted_upstream() as upstream:
        file = tmp_path / "farthing.toml"
        more = MORE.format(folder=tmp_path, url=upstream.url)
        file.write_text(one_route(upstream.url, more=more, limit_usd="0.01"), "utf-8")
        async with a_service(file) as (_, client):
            body = {"model": "chat", "prompt": "hello", "params": {"max_tokens": 20}}
            for script in (answer("ok", prompt_tokens=30, completion_tokens=2), REFUSED):
                upstream.plays(script)
                await client.post("/generate", json=body)
            assert (await client.post("/generate", json={**body, "model": "dear"})).status_code == 402
            wanted = {"ceiling.threshold", "provider.key_refused", "model.unpriced", "disk.low"}
            found = await told_types(client, wanted)
            assert found.keys() == wanted
            assert found["ceiling.threshold"]["facts"]["spent_nanousd"] == 30 * 1000 + 2 * 2000
            assert found["model.unpriced"]["facts"] == {"deployment": "other:made-up"}
            facts = found["provider.key_refused"]["facts"]
            assert (facts["deployment"], facts["last_status"], facts["last_code"]) == ("up:m", 401, "invalid_api_key")
            crossed = found["ceiling.threshold"]["id"]
            assert (await client.post(f"/alerts/{crossed}/acknowledge")).status_code == 200
            still = (await client.get("/alerts?state=open")).json()["alerts"]
            assert {alert["type"] for alert in still} == wanted - {"ceiling.threshold"}
