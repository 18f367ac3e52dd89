"""What is fetched has no bound and is told by its name; what is here, or only mentioned, has one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.bounds import PER_IMAGE, input_bound_tokens, unbounded_field
from router.parts import unbounded_in

URL = "https://example.org/a"
DATA = "data:application/pdf;base64,JVBERi0="
B64 = "JVBERi0xLjcK"
MENTIONED = {"url": URL, "file_url": URL, "uri": URL, "title": URL}
PICTURE = {"type": "image_url", "image_url": {"url": URL}}


def body(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "sum up"}, *parts]}]}


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "video_url", "video_url": {"url": URL}}, "video_url"),
        ({"type": "audio_url", "audio_url": {"url": URL}}, "audio_url"),
        ({"type": "document_url", "document_url": URL}, "document_url"),
        ({"type": "input_video", "input_video": {"url": URL}}, "input_video.url"),
        ({"type": "input_video", "video_url": URL}, "video_url"),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": URL}}, "file_data"),
        ({"type": "file", "file": {"file_url": URL}}, "file_url"),
        ({"type": "file", "file_url": URL}, "file_url"),
        ({"type": "input_file", "file_data": " GS://bucket/a.pdf"}, "file_data"),
        ({"type": "input_audio", "input_audio": {"data": URL, "format": "wav"}}, "data"),
        ({"type": "document", "source": {"type": "url", "url": URL}}, "source.url"),
        ({"type": "video", "video": [URL]}, "video"),
        ({"type": "a_part_of_tomorrow", "frames": [{"uri": "example.org/1"}]}, "frames.uri"),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"}}, "fileUri"),
        # Servers that go by the fields take it for a picture, or for a film.
        ({"text": "x", "video_url": {"url": URL}}, "video_url"),
        ({"type": [], "video_url": {"url": URL}}, "video_url"),
        (
            {"type": "tool_result", "content": [{"type": "document", "source": {"type": "url", "url": URL}}]},
            "source.url",
        ),
        ({"type": "file", "file": {"file_id": "f1"}}, "file_id"),
        ({"type": "input_image", "file_id": "f1"}, "file_id"),
        ({"type": "image", "source": {"type": "file", "file_id": "f1"}}, "file_id"),
        ({"type": "image_file", "image_file": {"file_id": "f1"}}, "file_id"),
    ],
)
def test_what_is_fetched_has_no_bound(part, field):
    assert unbounded_field(body(part)) == field


WHOLE = (
    PICTURE,
    {"type": "image", "source": {"type": "url", "url": URL}},
    {"type": "input_image", "image_url": URL},
    {"type": "video_url", "video_url": {"url": DATA}},
    {"type": "file", "file": {"filename": URL, "file_data": DATA, "file_id": None}},
    {"type": "input_file", "file_data": B64, "file_url": None},
    {"type": "input_audio", "input_audio": {"data": B64, "format": "wav"}},
    {"type": "document", "source": {"type": "base64", "data": B64}, "title": URL, "context": URL},
    {"type": "document", "source": {"type": "text", "data": "https://example.org was down"}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": URL}, PICTURE]}},
    {"type": "text", "text": URL, "citations": [{"type": "web_search_result_location", **MENTIONED}]},
    {"type": "thinking", "thinking": URL, "signature": "s"},
    {"type": "tool_use", "id": "t", "name": "fetch", "input": {**MENTIONED, "file_id": "f1"}},
    {"type": "server_tool_use", "id": "t", "name": "web_fetch", "input": MENTIONED},
    {"type": "search_result", "source": URL, "title": "T", "content": [{"type": "text", "text": "r"}]},
    {"type": "web_search_tool_result", "content": [{"type": "web_search_result", **MENTIONED}]},
    {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", **MENTIONED, "content": {"type": "x"}}},
    {"type": "a_part_of_tomorrow", "note": "Warning: no bound"},
)
TEXTS = st.text(max_size=20) | st.sampled_from([URL, DATA])
FIELDS = st.dictionaries(st.sampled_from(["note", "cache_control", "title", "citations"]), TEXTS, max_size=2)


@given(st.lists(st.tuples(st.sampled_from(WHOLE), FIELDS), max_size=4))
def test_what_is_here_or_only_mentioned_has_a_bound(chosen):
    parts = [{**more, **part} for part, more in chosen]
    results = {"type": "tool_result", "tool_use_id": "t", "content": parts}
    assert unbounded_field(body(*parts, results)) is None


@given(st.recursive(TEXTS | st.none(), lambda it: st.lists(it, max_size=2) | st.dictionaries(TEXTS, it, max_size=2)))
def test_a_part_of_any_shape_is_looked_through(value):
    assert unbounded_in({"type": "a_part_of_tomorrow", "inner": value, "video_url": {"url": URL}}) is not None
    assert unbounded_in({"type": "text", "text": "x", "inner": value}) is None


def test_a_part_may_be_deep():
    deep: dict[str, Any] = {"url": URL}
    for _ in range(10_000):
        deep = {"inner": [deep]}
    assert unbounded_in({"type": "a_part_of_tomorrow", **deep}) == "inner.url"


def test_a_picture_in_a_paper_has_its_allowance():
    paper = {"type": "document", "source": {"type": "content", "content": [PICTURE, PICTURE]}, "title": "x" * 5000}
    bound = input_bound_tokens(body(paper), None)
    assert 2 * PER_IMAGE + 5000 <= bound < 2 * PER_IMAGE + 6000


def test_what_says_itself_that_it_is_no_picture_is_bounded_by_its_bytes():
    for url in ({"url": "data:video/mp4;base64," + "A" * 100_000}, "DATA:application/pdf;base64," + "A" * 100_000):
        assert input_bound_tokens(body({"type": "image_url", "image_url": url}), None) > 100_000
