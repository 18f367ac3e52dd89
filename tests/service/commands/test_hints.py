"""`farthing hints` and `/router/hints`: what was learned is shown, and an operator's word is heard."""

import json

import pytest
from click.testing import CliRunner

from service.commands import main
from tests.processes import farthing_serve, one_route, run_farthing
from tests.upstream import answer, scripted_upstream, status

AT_OPENAI = '[[providers]]\nname = "openai"\ndialect = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'


async def test_what_a_service_learned_is_shown_and_an_operators_word_is_heard(tmp_path):
    async with scripted_upstream() as upstream, farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
        upstream.plays(status(500), answer("fine"))
        assert (await service.generate(model="chat", prompt="one"))[0] == 502
        assert (await service.generate(model="chat", prompt="two", workflow="w"))[0] == 200
        (hint,) = (await service.get("/router/hints?provider=up"))["hints"]
        assert (hint["deployment"], hint["successes"], hint["errors"]) == ("up:m", 1, {"upstream_error": 1})
        assert hint["last_error"]["status"] == 500
        assert (await service.get("/router/status"))["deployments"][0]["hints"]["errors"] == {"upstream_error": 1}
        assert (await service.get("/router/hints?provider=other"))["hints"] == []

        code, out, _ = await run_farthing(tmp_path, "hints", "block", "up:m", "--reason", "a test")
        assert (code, "farthing hints allow up:m" in out) == (0, True)
        await service.poll("/router/hints", lambda known: known["hints"][0]["block"])
        refused, problem = await service.generate(model="chat", prompt="three")
        assert (refused, problem["code"]) == (503, "no_deployment_available")
        # When it comes back is the operator's to say: nothing is promised.
        assert "ask again in 3600 s" in problem["detail"]
        code, out, _ = await run_farthing(tmp_path, "hints")
        assert (code, "by hand since" in out, "a test" in out) == (0, True, True)

        order = {"deployment": "up:m", "action": "allow"}
        async with service.http.post(f"{service.url}/router/hints", json=order) as reply:
            assert (reply.status, (await reply.json())["block"]) == (200, None)
        assert (await service.generate(model="chat", prompt="four"))[0] == 200
        async with service.http.delete(f"{service.url}/router/hints/up:m") as reply:
            assert (reply.status, (await reply.json())["errors"]) == (200, {})
    code, out, _ = await run_farthing(tmp_path, "hints", "prefer", "up:m", "v1/responses")
    assert code == 0
    code, out, _ = await run_farthing(tmp_path, "hints", "--json", "--provider", "up")
    assert json.loads(out)["hints"][0]["preferred_endpoint"] == "v1/responses"


async def test_a_name_that_was_only_mistyped_is_nowhere_once_it_is_forgotten(tmp_path):
    async with scripted_upstream() as upstream, farthing_serve(tmp_path, config=one_route(upstream.url)) as service:

        async def named():
            hints = [hint["deployment"] for hint in (await service.get("/router/hints"))["hints"]]
            status = [one["deployment"] for one in (await service.get("/router/status"))["deployments"]]
            async with service.http.get(f"{service.url}/metrics") as reply:
                return hints, status, "typo" in await reply.text()

        async with service.http.delete(f"{service.url}/router/hints/up:typo") as reply:
            assert reply.status == 200
        assert await named() == (["up:m"], ["up:m"], False)
        assert (await run_farthing(tmp_path, "hints", "block", "up:typo"))[0] == 0
        await service.poll("/router/hints", lambda known: len(known["hints"]) == 2)
        assert (await run_farthing(tmp_path, "hints", "forget", "up:typo"))[0] == 0
        await service.poll("/router/hints", lambda known: len(known["hints"]) == 1)
        assert await named() == (["up:m"], ["up:m"], False)
    assert (await run_farthing(tmp_path, "hints"))[1] == "nothing was learned yet\n"


@pytest.mark.parametrize(
    ("arguments", "ledger"),
    [
        ("--config one.toml block openai:m", "one.db"),
        ("block --config one.toml openai:m", "one.db"),
        ("--config two.toml prefer openai:m v1/responses --config one.toml", "one.db"),
        ("--config none.toml block openai:m --config one.toml", "one.db"),
        ("block openai:m", "farthing.db"),
    ],
)
def test_the_config_is_named_before_the_order_or_after_it_where_it_counts_more(
    tmp_path, monkeypatch, arguments, ledger
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f'[ledger]\nurl = "sqlite:{name}.db"\n{AT_OPENAI}', "utf-8")
    (tmp_path / "farthing.toml").write_text(AT_OPENAI, "utf-8")
    result = CliRunner().invoke(main, ["hints", *arguments.split()])
    assert result.exit_code == 0, result.output
    assert [file.name for file in tmp_path.glob("*.db")] == [ledger]
    config = ["--config", "one.toml"] if ledger == "one.db" else []
    for given in (
        ["hints", *config],
        ["hints", *config, "allow", "openai:m"],
        ["hints", "forget", "openai:m", *config],
    ):
        result = CliRunner().invoke(main, given)
        assert (result.exit_code, "openai:m" in result.output) == (0, True), result.output


WRONG_ORDERS = (
    ({"deployment": "nobody:m", "action": "block"}, 404, "unknown_model"),
    ({"deployment": "chat", "action": "block"}, 404, "unknown_model"),
    ({"deployment": "up:m", "action": "stop"}, 400, "invalid_request"),
    ({"deployment": "up:m", "action": "prefer", "endpoint": "v1/realtime"}, 400, "invalid_request"),
    ({"deployment": "up:m", "acton": "block"}, 400, "invalid_request"),
    ({"action": "block"}, 400, "invalid_request"),
)


async def test_a_wrong_order_is_refused_with_what_would_be_right(tmp_path):
    async with scripted_upstream() as upstream, farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
        for body, status_code, code in WRONG_ORDERS:
            reply = await service.http.post(f"{service.url}/router/hints", json=body)
            problem = await reply.json(content_type=None)
            assert (reply.status, problem["code"]) == (status_code, code), body


async def test_nonsense_on_the_command_line_is_refused_in_one_line(tmp_path):
    async with scripted_upstream() as upstream:
        (tmp_path / "farthing.toml").write_text(one_route(upstream.url), "utf-8")
        for arguments, exit_code, words in (
            (("hints",), 4, "farthing.db"),
            (("hints", "block", "nobody:m"), 2, "there are the providers up"),
            (("hints", "block", "chat"), 2, "is no provider:model"),
            (("hints", "prefer", "up:m", "v1/realtime"), 2, "v1/responses"),
        ):
            code, _, err = await run_farthing(tmp_path, *arguments)
            assert (code, words in err) == (exit_code, True), err
        assert not (tmp_path / "farthing.db").exists()
