"""The dashboard as files: who may load them, under which policy, how they are kept, and what is vendored."""

import hashlib
import re
from importlib.resources import files

from service.auth.issuing import KeyWish, new_key
from service.auth.secret import new_secret
from service.http.dashboard import CONTENT_SECURITY_POLICY, MEDIA_TYPES, read_assets
from tests.service.http.scripted import a_keyring, an_edge, raw_exchange

FOLDER = files("service") / "dashboard"


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_a_browser_without_a_key_is_refused_with_the_page_that_asks_for_one():
    keyring = a_keyring(are_needed=True)
    async with an_edge(keyring=keyring) as (_, client):
        page = await client.get("/?view=latency&since=7d", headers=BROWSER)
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert "bearer" in page.headers["www-authenticate"].lower()
        assert page.content == read_assets()["index.html"].body
        problem = await client.get("/")
        assert (problem.status_code, problem.json()["code"]) == (401, "unauthenticated")
        for role, status in (("caller", 403), ("reader", 200)):
            secret = new_secret()
            key = new_key(KeyWish(name=role, role=role), secret, resolve=lambda name: None, now_ms=keyring._now_ms())
            await keyring.create(key, secret)
            shown = {"authorization": f"Bearer {secret.text.decode()}"}
            answer = await client.get("/", headers=BROWSER | shown)
            assert (answer.status_code, answer.content) == (status, page.content)
            assert (await client.get("/", headers=shown)).status_code == status


async def test_a_page_of_a_foreign_host_is_not_shown():
    async with an_edge() as (_, client):
        refused = await client.get("/", headers=BROWSER | {"host": "evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_the_page_and_all_it_loads_come_under_a_strict_policy():
    async with an_edge(keyring=a_keyring(are_needed=True)) as (_, client):
        page = await client.get("/?view=latency&since=7d", headers=BROWSER)
        linked = re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page.text)
        assert len(linked) >= 7
        for path in (*linked, *(f"dashboard/{name}" for name in read_assets())):
            answer = await client.get(f"/{path}")
            assert answer.status_code == 200, path
            media_type = MEDIA_TYPES["." + path.rpartition(".")[2]]
            assert answer.headers["content-type"] in {media_type, f"{media_type}; charset=utf-8"}
            assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/ledger/spend")).status_code == 401


async def test_a_browser_is_told_what_it_has_already():
    async with an_edge() as (_, client):
        first = await client.get("/dashboard/app.js")
        assert first.headers["cache-control"] == "no-cache"
        for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
            again = await client.get("/dashboard/app.js", headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
            assert again.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        changed = await client.get("/dashboard/app.js", headers={"if-none-match": '"another"'})
        assert (changed.status_code, changed.content) == (200, first.content)


async def test_no_path_leads_out_of_the_folder_and_licences_stay_at_home():
    async with an_edge() as (edge, client):
        for path in ("/dashboard/", "/dashboard/nothing.js", "/dashboard/vendor/uplot/LICENSE", "/dashboard/vendor"):
            assert (await client.get(path)).status_code == 404, path
        for path in (b"/dashboard/../app.py", b"/dashboard/%2e%2e/app.py", b"/dashboard//etc/passwd"):
            request = b"GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % path
            assert (await raw_exchange(edge.port, request)).startswith(b"HTTP/1.1 404"), path


async def test_files_of_the_page_are_no_requests_to_trace():
    async with an_edge() as (edge, client):
        await client.get("/dashboard/app.js")
        await client.get("/v1/models")
        assert (await edge.telemetry.next()).path == "/v1/models"
        assert edge.telemetry.facts == []


def test_nothing_is_inline_and_nothing_comes_from_elsewhere():
    for name, asset in read_assets().items():
        text = asset.body.decode()
        if not name.startswith("vendor/"):
            assert not re.search(r"\sstyle=|<script>|<style|\son[a-z]+=\"|javascript:|innerHTML|eval\(", text), name
            assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}, name


def test_vendored_libraries_are_as_they_were_published():
    listed = re.findall(
        r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", (FOLDER / "vendor" / "README.md").read_text(), re.MULTILINE
    )
    vendored = {name.removeprefix("vendor/"): asset for name, asset in read_assets().items() if "vendor/" in name}
    assert {name: hashlib.sha256(asset.body).hexdigest() for name, asset in vendored.items()} == dict(listed)
