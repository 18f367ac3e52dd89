"""`farthing correct`, `reprice` and `reconcile` on the ledger of a real service, running and at rest."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from service.exports import ExportUnreadable, Mapped, Total, read_export
from tests.processes import farthing_serve, one_route, run_farthing
from tests.upstream import answer, scripted_upstream, status

TODAY = datetime.now(UTC).date().isoformat()


def lines(folder):
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        return db.execute("SELECT kind, cost_nanousd, cost_basis, reason FROM postings ORDER BY seq").fetchall()


async def some_calls(service, upstream, count=3):
    answers = []
    for number in range(count):
        upstream.plays(answer("a", prompt_tokens=10, completion_tokens=5))
        answers.append((await service.generate(model="chat", prompt=f"call {number}"))[1])
    return answers


async def test_an_attempts_cost_is_corrected_while_the_service_runs_and_twice_is_once(tmp_path):
    async with scripted_upstream() as upstream, farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
        (first,) = await some_calls(service, upstream, 1)
        order = ("correct", first["id"], "--cost-usd", "0.5", "--reason", "the invoice says so")
        code, out, _ = await run_farthing(tmp_path, *order, "--dry-run")
        assert code == 0
        assert "would be 0.500000000" in out
        assert len(lines(tmp_path)) == 1
        code, out, _ = await run_farthing(tmp_path, *order)
        assert (code, "line 2" in out) == (0, True)
        code, out, _ = await run_farthing(tmp_path, *order)
        assert (code, "nothing was written" in out) == (0, True)
        story = await service.get(f"/ledger/generations/{first['id']}")
        assert story["cost_usd"] == "0.500000000"
        assert lines(tmp_path)[1][2:] == ("provider_reported", "the invoice says so")
        upstream.plays(status(500), answer("b"))
    assert (await run_farthing(tmp_path, "verify"))[0] == 0


async def test_nonsense_is_refused_in_one_line(tmp_path):
    async with scripted_upstream() as upstream:
        async with farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
            await some_calls(service, upstream, 1)
        for arguments, words in (
            (("gen_nobody", "--cost-usd", "1", "--reason", "r"), "no attempt"),
            (("gen_nobody", "--cost-usd", "-1", "--reason", "r"), "not an amount"),
            (("gen_nobody", "--cost-usd", "1", "--reason", " "), "needs a reason"),
            (("gen_nobody", "--cost-usd", "1", "--reason", "r", "--usage", "words=3"), "no token count"),
        ):
            code, _, said = await run_farthing(tmp_path, "correct", *arguments)
            assert (code, len(said.splitlines())) == (2, 1)
            assert words in said


async def test_a_mended_price_is_charged_for_past_calls_and_the_second_time_finds_nothing(tmp_path):
    async with scripted_upstream() as upstream:
        config = one_route(upstream.url)
        async with farthing_serve(tmp_path, config=config) as service:
            before = await some_calls(service, upstream)
            (tmp_path / "farthing.toml").write_text(
                config.replace('input_usd_per_mtok = "1"', 'input_usd_per_mtok = "3"')
            )
            code, out, _ = await run_farthing(tmp_path, "reprice", "--since", "1h", "--dry-run")
            assert code == 0
            assert "3 attempts looked at, 3 would change by 0.000060000 in all" in out
            assert len(lines(tmp_path)) == 3
            code, out, _ = await run_farthing(tmp_path, "reprice", "--since", "1h")
            assert "3 changed by 0.000060000" in out
            code, out, _ = await run_farthing(tmp_path, "reprice", "--since", "1h")
            assert "0 changed" in out
            total = (await service.get("/ledger/spend"))["total"]["cost_nanousd"]
            assert total == sum(it["cost_nanousd"] for it in before) + 3 * 10 * 2000
            assert {reason for *_, reason in lines(tmp_path)[3:]} == {
                "repriced from config: input 1, output 2 to config: input 3, output 2"
            }
        assert (await run_farthing(tmp_path, "verify"))[0] == 0


async def test_a_providers_export_is_compared_and_settled_exactly(tmp_path):
    async with scripted_upstream() as upstream:
        config = one_route(upstream.url)
        mapping = '\n[[reconcile]]\nprovider = "up"\ncolumns = {day = "date", model = "name", cost_usd = "amount"}\n'
        async with farthing_serve(tmp_path, config=config + mapping) as service:
            await some_calls(service, upstream)
            export = tmp_path / "export.csv"
            export.write_text(f"date,name,amount\n{TODAY},m,$0.00002\n{TODAY},m,0.00005001\n{TODAY},other,1\n")
            order = ("reconcile", str(export), "--provider", "up")
            code, out, _ = await run_farthing(tmp_path, *order, "--json")
            ours, theirs = json.loads(out)
            assert (ours["model"], ours["ours_nanousd"], ours["theirs_nanousd"]) == ("m", 60_000, 70_010)
            assert (theirs["model"], theirs["attempts"], theirs["ours_nanousd"]) == ("other", 0, 0)
            assert len(lines(tmp_path)) == 3
            code, out, said = await run_farthing(tmp_path, *order, "--apply")
            assert (code, "3 lines written" in said) == (0, True)
            assert "+16.68" in out
            code, out, said = await run_farthing(tmp_path, *order, "--apply")
            assert "0 lines written" in said
            assert (await service.get("/ledger/spend"))["total"]["cost_nanousd"] == 70_010
            assert all("export.csv, sha256" in reason for *_, reason in lines(tmp_path)[3:])
        assert (await run_farthing(tmp_path, "verify"))[0] == 0


async def test_a_service_under_load_and_a_correcting_command_share_the_ledger(tmp_path):
    async with scripted_upstream() as upstream, farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
        upstream.default = answer("a", prompt_tokens=10, completion_tokens=5)
        calls = [asyncio.create_task(service.generate(model="chat", prompt=f"{n}")) for n in range(50)]
        text = (tmp_path / "farthing.toml").read_text()
        (tmp_path / "farthing.toml").write_text(text.replace('input_usd_per_mtok = "1"', 'input_usd_per_mtok = "3"'))
        code, _, said = await run_farthing(tmp_path, "reprice", "--since", "1h")
        assert code == 0, said
        assert {code for code, _ in await asyncio.gather(*calls)} == {200}
        await run_farthing(tmp_path, "reprice", "--since", "1h")
        assert (await service.get("/ledger/spend"))["total"]["cost_nanousd"] == 50 * (10 * 3000 + 5 * 2000)


SECOND_DAY = [
    {"amount": {"value": 1e-9}, "line_item": "gpt-4o"},
    {"amount": {"value": "0.1"}, "line_item": "mini"},
]
OPENAI = {
    "data": [
        {"start_time": 1795219200, "results": [{"amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o"}]},
        {"start_time": 1795305600, "results": SECOND_DAY},
    ]
}


def test_nested_rows_take_what_they_lack_from_around_them():
    columns = {"day": "start_time", "model": "line_item", "cost_usd": "amount.value"}
    mapped = Mapped(columns=columns, rows="data[].results[]", models={"mini": "gpt-4o-mini"})
    assert read_export(json.dumps(OPENAI), mapped, is_json=True) == {
        ("2026-11-21", "gpt-4o"): Total(cost_nanousd=60_000_000),
        ("2026-11-22", "gpt-4o"): Total(cost_nanousd=1),
        ("2026-11-22", "gpt-4o-mini"): Total(cost_nanousd=100_000_000),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("day,model,cost_usd\nsoon,m,1", "row 1: 'soon' is no day"),
        ("day,model,cost_usd\n2026-11-21,m,much", "row 1: 'much' is no amount"),
        ("day,model,price\n2026-11-21,m,1", "row 1: there is no 'cost_usd'; there is 'day', 'model', 'price'"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(text, words):
    mapped = Mapped(columns={"day": "day", "model": "model", "cost_usd": "cost_usd"})
    with pytest.raises(ExportUnreadable, match=words):
        read_export(text, mapped, is_json=False)


def test_moments_of_every_kind_are_days_in_utc():
    mapped = Mapped(columns={"day": "d", "model": "m", "input_tokens": "i"})
    moments = ("2026-11-21", "2026-11-21T23:30:00-05:00", "1795219200", "1795219200000")
    text = "d,m,i\n" + "".join(f'{moment},m,"1,000"\n' for moment in moments)
    assert read_export(text, mapped, is_json=False) == {
        ("2026-11-21", "m"): Total(input_tokens=3000),
        ("2026-11-22", "m"): Total(input_tokens=1000),
    }


def test_an_amount_that_is_a_json_number_is_read_to_the_last_nano_dollar():
    mapped = Mapped(columns={"day": "day", "model": "model", "cost_usd": "cost"})
    found = read_export('[{"day": "2026-11-01", "model": "m", "cost": 12345678.123456789}]', mapped, is_json=True)
    assert found == {("2026-11-01", "m"): Total(cost_nanousd=12_345_678_123_456_789)}


def test_less_than_a_nano_dollar_is_one_and_a_byte_order_mark_is_no_part_of_a_name():
    mapped = Mapped(columns={"day": "day", "model": "model", "cost_usd": "cost"})
    found = read_export("\ufeffday,model,cost\n2026-11-01,m,0.0000000011\n", mapped, is_json=False)
    assert found == {("2026-11-01", "m"): Total(cost_nanousd=2)}


def test_an_amount_in_cents_is_read_as_cents():
    report = {"data": [{"starting_at": "2026-11-21T00:00:00Z", "results": [{"amount": "123.45", "model": "m"}]}]}
    columns = {"day": "starting_at", "model": "model", "cost_cents": "amount"}
    mapped = Mapped(columns=columns, rows="data[].results[]")
    found = read_export(json.dumps(report), mapped, is_json=True)
    assert found == {("2026-11-21", "m"): Total(cost_nanousd=1_234_500_000)}
