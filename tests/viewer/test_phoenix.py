"""What people see of a call in Arize Phoenix. Needs `make viewer` to have been run once: `make test-viewer` does."""

import pytest

from tests.viewer.house import CAPITAL, PYTHON, a_phoenix, two_calls

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not PYTHON.exists(), reason="Phoenix is not installed: make test-viewer"),
]


def tree(spans):
    """(name, kind, status, *the same of each beneath it) of the one root."""

    def told(span):
        beneath = [told(child) for child in spans if child["parent_id"] == span["context"]["span_id"]]
        return (span["name"], span["span_kind"], span["status_code"], *beneath)

    [root] = [span for span in spans if span["parent_id"] is None]
    return told(root)


async def test_phoenix_shows_a_failed_over_and_a_hedged_call_as_they_were(tmp_path):
    async with a_phoenix(tmp_path) as phoenix, two_calls(tmp_path, phoenix) as answers:
        for answered, error in zip(answers, ("503", "cancelled"), strict=True):
            reply = answered.json()
            spans = await phoenix.spans(reply["trace_id"], 4)
            assert tree(spans) == (
                "POST /generate", "CHAIN", "UNSET",
                ("chat gpt-4o-mini", "LLM", "UNSET",
                 ("chat gpt-4o", "LLM", "ERROR"),
                 ("chat gpt-4o-mini", "LLM", "UNSET")),
            )  # fmt: skip
            _, chat, lost, won = (span["attributes"] for span in spans)
            assert (chat["llm.model_name"], chat["llm.provider"]) == ("gpt-4o-mini", "openai")
            assert (chat["llm.token_count.prompt"], chat["llm.token_count.completion"]) == (23, 8)
            assert chat["llm.input_messages.0.message.role"] == "system"
            assert chat["llm.input_messages.1.message.content"] == "What is the capital of France?"
            assert chat["llm.output_messages.0.message.content"] == CAPITAL
            assert chat["farthing.cost.nanousd"] == reply["cost_nanousd"]
            assert all(span["attributes"]["farthing.generation.id"] == reply["id"] for span in spans)
            assert lost["error.type"] == error
            assert won["farthing.ceilings"] == ["month global", "day workflow:geography"]
            # By prices of its own; of a loser it is told no tokens, so this is what the attempt that answered came to.
            shown_nanousd = round(await phoenix.cost_usd(spans[1]) * 1e9)
            assert shown_nanousd == won["farthing.charged.nanousd"] == 23 * 150 + 8 * 600
            assert [event["name"] for event in spans[2]["events"]] == ["farthing.classify"]
        assert reply["attempts"][1]["hedge"]
