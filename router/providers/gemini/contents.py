"""Messages of a chat completion as the Gemini API has them. Pure.

System text stands apart there; tool results are a user's parts, under their function's name; neighbours of one role are
one content.
Source: ai.google.dev/api/caching#Content; ai.google.dev/gemini-api/docs: "Function calling", "Thought signatures".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from router.errors import Inexpressible

Part = dict[str, Any]

# What the API takes for the signature of a tool call that it did not make itself.
NO_SIGNATURE: Final = "skip_thought_signature_validator"
_DIALECT: Final = "gemini"
_ROLES: Final = {"user": "user", "tool": "user", "assistant": "model"}
_SYSTEM: Final = ("system", "developer")
_IMAGE_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
}


def contents_of(said: Any, *, needs_signatures: bool) -> tuple[list[Part], list[Part]]:
    """(the system's parts, the contents). Raises Inexpressible."""
    system: list[Part] = []
    contents: list[Part] = []
    # {id of a tool call: its function's name}: results are sent back under the name.
    called: dict[str, str] = {}
    for index, message in enumerate(said if isinstance(said, list) else ()):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise _inexpressible(where, "what is no object")
        role = message.get("role")
        if role in _SYSTEM:
            system += _content(message.get("content"), where)
        elif role == "tool":
            _add(contents, "user", [_result(message, called, where)])
        elif role in _ROLES:
            parts = _content(message.get("content"), where)
            parts += _calls(message, called, where, needs_signatures=needs_signatures)
            _add(contents, _ROLES[role], parts)
        else:
            raise _inexpressible(where, f"the role {role!r}")
    if not contents:
        raise _inexpressible("messages", "a conversation without a word of the user's")
    return system, contents


def _add(contents: list[Part], role: str, parts: list[Part]) -> None:
    if not parts:
        # Empty text is refused there, and says nothing.
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _result(message: Mapping[str, Any], called: Mapping[str, str], where: str) -> Part:
    call_id = message.get("tool_call_id")
    name = message.get("name") or called.get(call_id if isinstance(call_id, str) else "")
    if not isinstance(name, str):
        raise _inexpressible(where, "the result of a tool that was not called")
    texts = []
    for part in _content(message.get("content"), where):
        if "text" not in part:
            raise _inexpressible(f"{where}.content", "the result of a tool that is no text")
        texts.append(part["text"])
    response = {"name": name, "response": _result_object("".join(texts))}
    return {"functionResponse": {"id": call_id, **response} if call_id else response}


def _result_object(text: str) -> dict[str, Any]:
    decoded = _object_in(text)
    return {"output": text} if decoded is None else decoded


def _calls(message: Mapping[str, Any], called: dict[str, str], where: str, *, needs_signatures: bool) -> Iterator[Part]:
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        yield {"text": refusal}
    calls = message.get("tool_calls")
    signatures = _signatures(message)
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        place = f"{where}.tool_calls[{index}]"
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str):
            raise _inexpressible(place, "a tool call that calls no function")
        arguments = _object_in(function.get("arguments") or "{}")
        if arguments is None:
            raise _inexpressible(place, "arguments that are no JSON object")
        call_id = call.get("id")
        said = {"name": name, "args": arguments}
        part: Part = {"functionCall": said}
        if isinstance(call_id, str) and call_id:
            called[call_id] = name
            said["id"] = call_id
        signature = _own_signature(call) or signatures.get(call_id if isinstance(call_id, str) else "")
        # Of calls that were made at once only the first is signed.
        if signature is None and needs_signatures and index == 0:
            signature = NO_SIGNATURE
        yield part if signature is None else {**part, "thoughtSignature": signature}


def _signatures(message: Mapping[str, Any]) -> dict[str, str]:
    """{id of a tool call: its signature}, from what our own answers say in `thought_signatures`."""
    said = message.get("thought_signatures")
    found = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    pairs = ((one.get("tool_call_id"), one.get("signature")) for one in found)
    return {name: text for name, text in pairs if isinstance(name, str) and isinstance(text, str)}


def _own_signature(call: Mapping[str, Any]) -> str | None:
    """Where Google's own OpenAI-compatible endpoint has it."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None


def _content(content: Any, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        raise _inexpressible(f"{where}.content", "what is neither text nor parts")
    parts = (_part(part, f"{where}.content[{index}]") for index, part in enumerate(content))
    return [part for part in parts if part.get("text") != ""]


def _part(part: Any, where: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _PARTS:
        raise _inexpressible(where, f"a part of the type {kind!r}")
    return _PARTS[kind](part, where)


def _text(part: Part, where: str) -> Part:
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise _inexpressible(where, "a text that is none")
    return {"text": text}


def _image(part: Part, where: str) -> Part:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise _inexpressible(where, "an image without an address")
    if url.startswith("data:"):
        return _inline(url, where)
    # An address can also be a film's, whose length nobody knows: only what is an image by its name is sent.
    media_type = _IMAGE_TYPES.get(_path_of(url).rpartition(".")[2].lower())
    if media_type is None:
        raise _inexpressible(where, "an image whose address does not end in its type")
    return {"fileData": {"fileUri": url, "mimeType": media_type}}


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _file(part: Part, where: str) -> Part:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise _inexpressible(where, "a file that is only named")
    return _inline(data, where)


def _audio(part: Part, where: str) -> Part:
    audio = part.get("input_audio")
    data, kind = (audio.get("data"), audio.get("format")) if isinstance(audio, dict) else (None, None)
    if not isinstance(data, str) or not isinstance(kind, str):
        raise _inexpressible(where, "a sound without its data and format")
    return {"inlineData": {"mimeType": f"audio/{kind}", "data": data}}


_PARTS: Final[Mapping[str, Callable[[Part, str], Part]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}


def _inline(url: str, where: str) -> Part:
    head, comma, data = url.partition(",")
    media_type, _, encoding = head.removeprefix("data:").rpartition(";")
    if not comma or encoding != "base64" or not media_type:
        raise _inexpressible(where, "data that are not in base64 with their type")
    return {"inlineData": {"mimeType": media_type.partition(";")[0], "data": data}}


def _object_in(text: Any) -> dict[str, Any] | None:
    try:
        decoded = msgspec.json.decode(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _inexpressible(where: str, what: str) -> Inexpressible:
    return Inexpressible(where=where, what=what, dialect=_DIALECT)
