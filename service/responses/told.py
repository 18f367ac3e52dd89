"""Items of `/v1/responses` that are whole as the events that they would have come in. Pure."""

from collections.abc import Iterator
from typing import Any

from service.responses.items import ADDED, CALLS, DONE, Event, Item


def whole_item_events(item: Item, index: int) -> Iterator[Event]:
    """The events of an item that comes at once. What is within it, they tell as if it had grown."""
    yield {"type": ADDED, "output_index": index, "item": _begun(item)}
    place = {"item_id": item.get("id"), "output_index": index}
    kind = item.get("type")
    if kind == "message":
        for number, part in enumerate(_objects(item.get("content"))):
            yield from _part_events(part, {**place, "content_index": number})
    elif kind == "reasoning":
        for number, part in enumerate(_objects(item.get("summary"))):
            yield from _summary_events(part, {**place, "summary_index": number})
    for item_type, field, event, _ in CALLS.values():
        if kind == item_type:
            yield {"type": f"{event}.delta", **place, "delta": item.get(field)}
            yield {"type": f"{event}.done", **place, field: item.get(field)}
    yield {"type": DONE, "output_index": index, "item": item}


def _begun(item: Item) -> Item:
    """The item as it was before anything was in it."""
    empty: Item = {"content": [], "summary": [], "arguments": "", "input": ""}
    begun = {name: empty.get(name, value) for name, value in item.items() if name != "encrypted_content"}
    return begun | ({"status": "in_progress"} if "status" in item else {})


def _part_events(part: Item, place: Item) -> Iterator[Event]:
    field = "refusal" if part.get("type") == "refusal" else "text"
    event = "response.refusal" if field == "refusal" else "response.output_text"
    tokens = {} if field == "refusal" else {"logprobs": part.get("logprobs") or []}
    yield {
        "type": "response.content_part.added",
        **place,
        "part": {**part, field: "", **({} if field == "refusal" else {"annotations": [], "logprobs": []})},
    }
    yield {"type": f"{event}.delta", **place, "delta": part.get(field), **tokens}
    for number, annotation in enumerate(_objects(part.get("annotations"))):
        added = {"annotation_index": number, "annotation": annotation}
        yield {"type": "response.output_text.annotation.added", **place, **added}
    yield {"type": f"{event}.done", **place, field: part.get(field), **tokens}
    yield {"type": "response.content_part.done", **place, "part": part}


def _summary_events(part: Item, place: Item) -> Iterator[Event]:
    text = part.get("text")
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
    yield {"type": "response.reasoning_summary_text.delta", **place, "delta": text}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _objects(value: Any) -> list[Item]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
