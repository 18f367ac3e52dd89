"""Where LiteLLM asks at Azure, by what an entry says of its address, its version and its model. Pure.

Source: LiteLLM 1.106, `llms/azure/common_utils.py` and `llms/azure_ai/chat/transformation.py`.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from router.vendors import AZURE, AZURE_DEPLOYMENTS

VERSION: Final = "api-version"
# What LiteLLM asks for where nothing says a version.
_USUAL_VERSION: Final = "2025-02-01-preview"
_V1_VERSIONS: Final = frozenset({"v1", "latest", "preview"})
# Resources of Azure itself: at /openai/v1 there, a model is the deployment of its name. A gateway may lack that path.
_OWN_HOST: Final = re.compile(r".+\.(openai|cognitiveservices|services\.ai)\.azure\.com", re.IGNORECASE)
_FOUNDRY: Final = "services.ai.azure.com"
_KEY_HOSTS: Final = (".services.ai.azure.com", ".openai.azure.com")
_CLOUDFLARE: Final = "gateway.ai.cloudflare.com"
_OPENAI_MODEL: Final = re.compile(r"(gpt-(?!oss)|o[134]\b|chatgpt-|text-embedding-)")
_NO_VERSION: Final = "Azure's address ends in /openai/v1, which takes no version"


class Address(NamedTuple):
    """Where an entry's calls go. note: what people should know of it. unversioned: why its version is not asked for;
    empty: it is, or the entry has none.
    """

    base_url: str
    query: dict[str, str] | None = None
    auth_header: str | None = None
    note: str = ""
    unversioned: str = ""


def azure_address(prefix: str, url: str, model: str, version: str | None) -> Address:
    """Where calls of an entry with this address go. prefix: `azure` or `azure_ai`.

    version: as the entry says it, or the variable that holds it. None: it says none.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        # What is wrong with it is told where every address is looked at.
        return Address(url)
    query, said = dict(parse_qsl(parts.query)), {} if version is None else {VERSION: version}
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/").removesuffix("/chat/completions")
    if prefix == "azure_ai" and not _is_openai(host, path, model):
        return _inference(root, host, path, {**said, **query})
    address = _openai(root, host, path, model, {**query, **said})
    if VERSION in query and not said and VERSION in (address.query or {}):
        return address._replace(note=f"LiteLLM asks for {_USUAL_VERSION} here, whatever the address says.")
    return address


def _is_openai(host: str, path: str, model: str) -> bool:
    """Whether an entry of `azure_ai` is asked as one of `azure` is."""
    if host.endswith(_FOUNDRY) and AZURE_DEPLOYMENTS not in path:
        return False
    return _OPENAI_MODEL.match(model) is not None


def _inference(root: str, host: str, path: str, query: dict[str, str]) -> Address:
    """A model that is asked at the address itself; at a Foundry resource, below /models."""
    if host.endswith(_FOUNDRY) and not path.endswith(("/models", "/openai/v1")):
        path += "/models"
    base_url = root + path
    takes_key = host.endswith(_KEY_HOSTS)
    usual = AZURE.match(base_url) is not None
    header = None if takes_key == usual else "api-key" if takes_key else "authorization"
    if path.endswith("/openai/v1"):
        return _v1(base_url, query, header)
    return Address(base_url, query or None, header)


def _openai(root: str, host: str, path: str, model: str, query: dict[str, str]) -> Address:
    """A deployment of OpenAI's models: the one that the address names, else the one that the model's name is."""
    is_own = _OWN_HOST.fullmatch(host) is not None
    if AZURE_DEPLOYMENTS not in path:
        if path.endswith("/openai/v1"):
            return _v1(root + path, query)
        if is_own and (not path or path == "/openai" or path.startswith("/openai/")):
            return _v1(f"{root}/openai/v1", query)
        if query.get(VERSION) in _V1_VERSIONS:
            # The path was chosen by the version.
            return _v1(f"{root}{path}/openai/v1", query)._replace(unversioned="")
        path += f"/{model}" if host == _CLOUDFLARE else f"{AZURE_DEPLOYMENTS}{model}"
    base_url = root + path
    note = ""
    if VERSION not in query:
        query = {**query, VERSION: _USUAL_VERSION}
        note = f"No {VERSION} was said: this is LiteLLM's own, which asks for $AZURE_API_VERSION where that is set."
    return Address(base_url, query, None if AZURE.match(base_url) else "api-key", note)


def _v1(base_url: str, query: dict[str, str], auth_header: str | None = None) -> Address:
    others = {name: value for name, value in query.items() if name != VERSION}
    return Address(base_url, others or None, auth_header, unversioned=_NO_VERSION if VERSION in query else "")
