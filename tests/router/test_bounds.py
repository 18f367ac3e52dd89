"""The bounds hold for whatever is sent, without a count; what nothing can bound is named."""

from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.prices import Price, Tier
from ledger.usage import Usage
from router import bounds
from router.bounds import input_bound_tokens, output_bound_tokens, unbounded_field
from router.providers.anthropic.native import OWN, Own
from router.responses import AS_SENT, AsSent
from router.tokens.chat import Text, schemas_of, structure_of, texts_of
from tests.loaded import load_once

TEXT = st.text(max_size=200)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXT},
        optional={
            "name": TEXT,
            "tool_calls": st.lists(
                st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT})}),
                max_size=2,
            ),
        },
    ),
    max_size=4,
)
O200K = load_once("o200k_base")


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_no_chat_has_more_tokens_than_its_bound(messages):
    body = {"messages": messages}
    text, schemas = (sum(len(O200K.encode_ordinary(it)) for it in said) for said in (texts_of(body), schemas_of(body)))
    exact = structure_of(body).with_counted(Text(text), schemas).tokens
    assert exact <= input_bound_tokens(body, None)


@given(text=st.text() | st.text(st.sampled_from("a\u00e9\u5b57\ud83d\ude00\U0001f600")))
def test_a_long_texts_bytes_are_counted_in_pieces(text):
    with mock.patch.object(bounds, "PIECE_CHARS", 3):
        bound = input_bound_tokens({"messages": [{"content": text}]}, None)
    assert bound == bounds.PER_CALL + bounds.PER_MESSAGE + len(text.encode("utf-8", "surrogatepass"))


def test_the_context_window_bounds_what_can_be_read():
    assert input_bound_tokens({"messages": [{"role": "user", "content": "x" * 10_000}]}, 4096) == 4096


def test_an_images_bytes_do_not_count_but_its_allowance_does():
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    bound = input_bound_tokens({"messages": [{"role": "user", "content": [part]}]}, None)
    assert 14_364 <= bound < 20_000


def test_output_is_bounded_by_what_is_asked_the_model_and_the_window_in_this_order():
    bound = output_bound_tokens
    assert bound({"max_tokens": 50}, max_output_tokens=100, context_window=1000) == 50
    assert bound({"max_tokens": 500}, max_output_tokens=100, context_window=1000) == 100
    assert bound({"n": 3, "max_tokens": 50}, max_output_tokens=None, context_window=None) == 150
    assert bound({}, max_output_tokens=None, context_window=1000) == 1000
    assert bound({}, max_output_tokens=None, context_window=None) is None
    assert bound({"max_tokens": True}, max_output_tokens=None, context_window=None) is None


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"max_completion_tokens": 7, "max_tokens": 50}, 50),
        ({"max_completion_tokens": 50, "max_tokens": 7}, 50),
        ({"max_completion_tokens": 0, "max_tokens": 50}, 50),
        ({"max_completion_tokens": 7, "max_tokens": None}, 7),
        # Whoever heeds only the one that is no count is bounded by neither.
        ({"max_completion_tokens": 7, "max_tokens": 4000.0}, 100),
    ],
)
def test_of_two_limits_the_larger_counts_for_some_providers_heed_only_the_one(limits, most):
    assert output_bound_tokens(limits, max_output_tokens=100, context_window=None) == most


def test_what_no_hold_can_bound_is_named():
    assert unbounded_field({"tools": [{"type": "web_search"}]}) == "tools"
    assert unbounded_field({"tools": [{"type": "function"}, {"type": "custom"}]}) is None
    assert unbounded_field({"service_tier": "flex"}) == "service_tier"
    assert unbounded_field({"service_tier": "auto"}) is None
    assert unbounded_field({"modalities": ["text", "audio"]}) == "modalities"
    file = {"type": "file", "file": {"file_id": "f1"}}
    assert unbounded_field({"messages": [{"role": "user", "content": [file]}]}) == "file_id"
    for name in ("web_search_options", "previous_response_id", "prediction"):
        assert unbounded_field({name: {}}) == name


def test_what_is_written_beside_claudes_answer_cannot_be_bounded():
    clearing = [{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015", "keep": "all"}]
    compacting = {"type": "compact_20260112"}
    for management in (None, {}, {"edits": None}, {"edits": []}, {"edits": clearing}):
        assert unbounded_field({OWN: Own({"context_management": management})}) is None
    for edits in ([compacting], [*clearing, compacting], [{}], ["x"], [{"type": ["clear_"]}], "x"):
        assert unbounded_field({OWN: Own({"context_management": {"edits": edits}})}) == "context_management"
    assert unbounded_field({OWN: Own({"compaction": {"type": "summarize"}})}) == "compaction"
    assert unbounded_field({OWN: Own({"fallbacks": [{"model": "claude-opus-4-8"}]})}) == "fallbacks"


@pytest.mark.parametrize(
    ("field", "asks", "declines"),
    [
        ("models", ["dear"], []),
        ("plugins", [{"id": "web"}], []),
        ("enable_search", True, False),
        ("search_parameters", {"mode": "on"}, {"mode": "off"}),
        ("search_parameters", {}, False),
        ("cached_content", "cachedContents/1", None),
        ("chat_template", "{% for _ in range(10**6) %}word {% endfor %}", None),
    ],
)
def test_what_is_charged_on_top_or_read_from_elsewhere_is_named_unless_it_is_declined(field, asks, declines):
    assert unbounded_field({field: asks}) == field
    assert unbounded_field({field: declines}) is None
    assert unbounded_field({field: None}) is None


def test_what_google_keeps_is_named_where_its_own_endpoint_has_it():
    assert unbounded_field({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}) == "cached_content"
    assert unbounded_field({"extra_body": {"google": {"thinking_config": {}}}}) is None


JSON = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers(),
    lambda it: st.lists(it, max_size=3) | st.dictionaries(TEXT, it, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["documents", "system", "instructions", "guided_grammar", "context", "anthropic", "as_sent"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(FIELDS | st.text(min_size=1).map("x_".__add__), JSON, max_size=3), MESSAGES)
def test_a_field_that_nobody_here_knows_may_be_part_of_the_prompt(fields, messages):
    body = {"messages": messages}
    texts = [
        it.encode() if isinstance(it, str) else msgspec.json.encode(it) for it in fields.values() if it is not None
    ]
    said = sum(map(len, texts))
    assert input_bound_tokens({**fields, **body}, None) >= input_bound_tokens(body, None) + said


def test_what_no_model_reads_holds_nothing():
    body = {"messages": [{"role": "user", "content": "hello"}]}
    unread = {
        "temperature": 0.5, "stop": ["END"] * 100, "user": "u" * 1000, "metadata": {"k": "v" * 500}, "max_tokens": 9,
        "logit_bias": {"1": 1}, "stream_options": {"include_usage": True}, "documents": None,
    }  # fmt: skip
    assert input_bound_tokens({**body, **unread}, None) == input_bound_tokens(body, None)
    assert input_bound_tokens({**body, "tool_choice": "auto"}, None) <= input_bound_tokens(body, None) + len("auto")


def test_a_schema_is_counted_under_each_of_its_names():
    schema = {"type": "object", "properties": {"a" * 5000: {"type": "string"}}}
    for said in (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        {OWN: Own({"output_format": {"type": "json_schema", "schema": schema}})},
    ):
        assert 10_000 < input_bound_tokens(said, None) < 11_000


def test_what_is_kept_beside_the_messages_is_counted_once():
    word, note = "word " * 10_000, "note " * 1000
    native = {"messages": [{"role": "user", "content": word}], OWN: Own({"a_field_of_tomorrow": note})}
    assert len(word) + len(note) <= input_bound_tokens(native, None) < len(word) + len(note) + 200
    said = {"type": "message", "role": "assistant", "phase": note, "content": word}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": word}
    items = [said, thought]
    as_sent = AsSent(fields={"input": items, "instructions": word}, lost=("input.phase",))
    messages = [{"role": "system", "content": word}, {"role": "assistant", "content": word}, thought]
    bound = input_bound_tokens({"messages": messages, AS_SENT: as_sent}, None)
    assert 3 * len(word) + len(note) <= bound < 3 * len(word) + len(note) + 300


def test_speech_is_bounded_where_it_has_a_price_but_not_earlier_speech_by_its_id():
    spoken = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    assert unbounded_field(spoken, speaks=True) is None
    assert unbounded_field(spoken) == "modalities"
    assert unbounded_field({"audio": spoken["audio"]}) == "audio"
    assert unbounded_field({**spoken, "modalities": ["image"]}, speaks=True) == "modalities"
    again = {**spoken, "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}
    assert unbounded_field(again, speaks=True) == "audio"


PRICES = st.integers(0, 10**6).map(lambda per_token: per_token * 10**6)
TIERS = st.builds(
    Tier,
    **{name: st.none() | PRICES for name in Tier.__struct_fields__} | dict.fromkeys(("input", "output"), PRICES),
)
COUNTS = st.integers(0, 10**6)


@given(TIERS, st.none() | st.tuples(st.integers(1, 10**6), TIERS), st.tuples(*[COUNTS] * len(Usage.__struct_fields__)))
def test_no_usage_within_the_bounds_costs_more_than_the_hold(base, dearer, counts):
    price = Price(version="v", base=base, tiers=() if dearer is None else (dearer,))
    usage = Usage.of_counts(counts)
    assert price.cost_nanousd(usage) <= price.bound_nanousd(usage.prompt_tokens, usage.completion_tokens)
