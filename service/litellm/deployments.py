"""`model_list`: each entry becomes a deployment of a provider, with what is special about it."""

from typing import Any, Final

import msgspec

from service.config.model import ProviderSection
from service.config.names import is_model_name
from service.config.providers import provider_problems
from service.litellm.amounts import seconds
from service.litellm.azure import Address, azure_address
from service.litellm.particulars import FREE, INFO, PARAMS, is_priced, particulars_of
from service.litellm.source import Place, Source
from service.litellm.toml import Table
from service.litellm.variables import is_variable, text_of, variable_of
from service.litellm.vendors import AZURES, FOREIGN, VENDORS, vendor_of

MODELS: Final = "model_list"
CREDENTIAL: Final = "litellm_credential_name"
# What of `mode` is a chat or embeddings call here.
_SERVED: Final = (None, "chat", "completion", "responses", "embedding")
_HEADERS: Final = ("headers", "extra_headers")
# A parameter that OpenAI is sent as a header.
_ORGANIZATION: Final = "organization"
_UNKNOWN_ADDRESS: Final = (
    "what the variable of its address holds is not known here: if it names a deployment, write query"
)


# {key of a provider: (an entry's own settings, those of all entries), of which the first that is there counts}
# Source: LiteLLM 1.106, `Router._get_non_stream_timeout` and `_get_stream_timeout`.
_TIMEOUTS: Final[dict[str, tuple[tuple[str, ...], tuple[Place, ...]]]] = {
    "timeout_s": (("stream_timeout",), (("router_settings", "stream_timeout"),)),
    "answer_timeout_s": (
        ("timeout", "request_timeout"),
        (("litellm_settings", "request_timeout"), ("router_settings", "timeout")),
    ),
}


class Entry(msgspec.Struct, kw_only=True):
    """One entry of the list that has an equivalent. index: its place there; vendor: its prefix in LiteLLM."""

    index: int
    group: str
    vendor: str
    target: str


class Fleet:
    """The providers and deployments of a config, as its entries are read one after another."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._credentials = {
            str(it.get("credential_name")): index
            for index, it in enumerate(source.items("credential_list"))
            if isinstance(it, dict)
        }
        self._providers: dict[str, Table] = {}
        self._models: dict[str, Table] = {}
        self.vendors: dict[str, list[str]] = {}
        self.entries: list[Entry] = []
        for index, entry in enumerate(source.items(MODELS)):
            if isinstance(entry, dict) and isinstance(entry.get(PARAMS), dict):
                self._read(index)
            else:
                source.explain("an entry has a table litellm_params", MODELS, index)
        for place in (place for _, others in _TIMEOUTS.values() for place in others):
            if seconds(source.get(*place)) is not None:
                source.explain("every entry that could be taken has another, which counts before it", *place)

    @property
    def providers(self) -> list[Table]:
        """Who is asked."""
        return list(self._providers.values())

    @property
    def longest_s(self) -> float:
        """How long an attempt may take at most, where that was said. 0: nowhere."""
        spans = [table.values.get(key, 0.0) for table in self._providers.values() for key in _TIMEOUTS]
        return max(spans, default=0.0)

    @property
    def models(self) -> list[Table]:
        """What is special about deployments."""
        return list(self._models.values())

    def _read(self, index: int) -> None:
        source, place = self._source, (MODELS, index)
        said, group = source.get(*place, PARAMS, "model"), source.get(*place, "model_name")
        if not isinstance(said, str) or not isinstance(group, str):
            source.explain("an entry names its model_name and its litellm_params.model", *place)
            return
        if source.get(*place, INFO, "mode") not in _SERVED:
            source.explain("no call of this mode is served here: only chat and embeddings", *place)
            return
        named = source.get(*place, PARAMS, "custom_llm_provider")
        base = self._param(index, "api_base") or self._param(index, "base_url")
        prefix, model = vendor_of(said, named=named if isinstance(named, str) else None, has_base=base is not None)
        if prefix not in VENDORS:
            unknown = (
                f"LiteLLM's provider {prefix!r} is not known here" if prefix else "it does not say whose model it is"
            )
            source.explain(FOREIGN.get(prefix, unknown), *place)
            return
        model = _named_there(prefix, model, has_base=base is not None)
        if not is_model_name(model):
            source.explain("its name has characters in it that no name of a model has", *place)
            return
        provider = self._provider(index, prefix, model, base)
        if provider is None:
            return
        if "*" in model or "*" in group:
            text = f"there are no patterns: every model of {provider} can be asked as {provider}:MODEL, without a route"
            source.explain(text, *place, "model_name")
            source.explain(text, *place, PARAMS, "model")
            return
        source.use(*place, "model_name")
        source.use(*place, PARAMS, "model")
        source.use(*place, PARAMS, "custom_llm_provider")
        target = f"{provider}:{model}"
        self._describe(index, target, is_own=VENDORS[prefix].is_own)
        self.entries.append(Entry(index=index, group=group, vendor=prefix, target=target))

    def _param(self, index: int, name: str) -> Any:
        """A parameter of the entry, or of the credential that it names. None: neither says it."""
        return self._source.get(*self._param_place(index, name))

    def _param_place(self, index: int, name: str) -> Place:
        own: Place = (MODELS, index, PARAMS, name)
        credential = self._credentials.get(str(self._source.get(MODELS, index, PARAMS, CREDENTIAL)))
        if self._source.get(*own) is not None or credential is None:
            return own
        return ("credential_list", credential, "credential_values", name)

    def _provider(self, index: int, prefix: str, model: str, base: Any) -> str | None:
        """The name of the provider of an entry, which is made if there is none like it. None: it cannot be one."""
        source, place, vendor = self._source, (MODELS, index), VENDORS[prefix]
        key = text_of(self._param(index, "api_key"))
        if base is not None and not isinstance(base, str):
            source.explain("its address is no text", *place)
            return None
        if not (base or vendor.base_url):
            source.explain("it says no api_base, and there is none that is everybody's", *place)
            return None
        if prefix == "azure_ai" and "claude" in model.lower():
            text = "Claude at Azure: write a provider of the dialect anthropic with an address that ends in /anthropic"
            source.explain(text, *place)
            return None
        address, timeouts = self._address(index, prefix, model, base), self._timeouts(index)
        values = {
            "dialect": vendor.dialect,
            "base_url": address.base_url,
            "query": address.query,
            "api_key": (variable_of(key) or key) if key else f"${vendor.key}" if vendor.key else None,
            "auth_header": address.auth_header,
            **{key: span_s for key, (span_s, _) in timeouts.items()},
            "headers": self._headers(index, prefix, address.auth_header),
        }
        if problem := _problem(values):
            source.explain(problem, *place)
            return None
        for name in ("api_base", "base_url", "api_key"):
            source.use(*self._param_place(index, name))
        for _, said_at in timeouts.values():
            source.use(*said_at)
        if values["headers"] is not None:
            for name in (*_HEADERS, *([_ORGANIZATION] if prefix == "openai" else [])):
                source.use(*self._param_place(index, name))
        if prefix in AZURES:
            self._use_version(index, address)
        self._use_credential(index)
        return self._named(prefix, values, [address.note] if address.note else [])

    def _address(self, index: int, prefix: str, model: str, base: str | None) -> Address:
        """Where an entry's calls go."""
        vendor = VENDORS[prefix]
        if not base:
            return Address(vendor.base_url)
        if variable := variable_of(base):
            note = f"What {variable} holds must end in {vendor.must_end}" if vendor.must_end else ""
            return Address(variable, note=note, unversioned=_UNKNOWN_ADDRESS)
        if prefix not in AZURES:
            return Address(vendor.based(base))
        version = text_of(self._source.get(*self._version_place(index)))
        return azure_address(prefix, base, model, version and (variable_of(version) or version))

    def _version_place(self, index: int) -> Place:
        """Where it is said which version of its API an Azure resource is asked for."""
        own = self._param_place(index, "api_version")
        return own if self._source.get(*own) is not None else ("litellm_settings", "api_version")

    def _use_version(self, index: int, address: Address) -> None:
        if address.unversioned:
            self._source.explain(address.unversioned, *self._version_place(index))
        else:
            self._source.use(*self._version_place(index))

    def _headers(self, index: int, prefix: str, auth_header: str | None) -> dict[str, str] | None:
        """What goes with every request. None: nothing, or what cannot. auth_header: what the key goes in, if said."""
        given = [said for name in _HEADERS if (said := self._param(index, name)) is not None]
        organization = self._param(index, _ORGANIZATION) if prefix == "openai" else None
        if organization is not None:
            given.insert(0, {"OpenAI-Organization": organization})
        if not given or not all(isinstance(said, dict) for said in given):
            return None
        pairs = {name: text_of(value) for said in given for name, value in said.items()}
        found = {str(name): variable_of(text) or text for name, text in pairs.items() if text is not None}
        known = {name: "" if is_variable(text) else text for name, text in found.items()}
        section = ProviderSection(name="x", dialect="openai", base_url="http://x", api_key="x", headers=known)
        section = msgspec.structs.replace(section, auth_header=auth_header)
        is_whole = found and len(found) == len(pairs) and not any("${" in text for text in known.values())
        return found if is_whole and next(provider_problems("", section), None) is None else None

    def _use_credential(self, index: int) -> None:
        credential = self._credentials.get(str(self._source.get(MODELS, index, PARAMS, CREDENTIAL)))
        if credential is not None:
            self._source.use(MODELS, index, PARAMS, CREDENTIAL)
            self._source.use("credential_list", credential, "credential_name")

    def _timeouts(self, index: int) -> dict[str, tuple[float, Place]]:
        """{key of a provider: a span, and where it was said}: of an attempt, by the entry's own word or by all's."""
        found = {}
        for key, (own, others) in _TIMEOUTS.items():
            for place in (*(self._param_place(index, name) for name in own), *others):
                span_s = seconds(self._source.get(*place))
                if span_s is not None:
                    found[key] = (span_s, place)
                    break
        return found

    def _named(self, prefix: str, values: dict[str, Any], notes: list[str]) -> str:
        for name, table in self._providers.items():
            if {**values, "name": name} == table.values:
                return name
        taken = sum(name == prefix or name.startswith(f"{prefix}-") for name in self._providers)
        name = f"{prefix}-{taken + 1}" if taken else prefix
        self._providers[name] = Table(header="[[providers]]", values={"name": name, **values}, notes=notes)
        self.vendors.setdefault(prefix, []).append(name)
        return name

    def _describe(self, index: int, target: str, *, is_own: bool) -> None:
        """What is special about a deployment. What another entry said of the same one before stands."""
        found = particulars_of(self._source, (MODELS, index))
        notes = []
        if is_own and not is_priced(found):
            found = {**FREE, **found}
            notes = ["Its server is your own, so that it counts as free."]
        if not found:
            return
        values = {"id": target, **{key: value for key, (value, _) in found.items()}}
        known = self._models.setdefault(target, Table(header="[[models]]", values=values, notes=notes))
        for _, place in found.values():
            if known.values == values and place is not None:
                self._source.use(*place)
            elif place is not None:
                self._source.explain(f"another entry says otherwise of {target}", *place)


def own_place(source: Source, index: int, name: str) -> Place:
    """Of a number that an entry may say beside its parameters, as older configs do, or among them."""
    beside: Place = (MODELS, index, name)
    return beside if source.get(*beside) is not None else (MODELS, index, PARAMS, name)


def _problem(values: dict[str, Any]) -> str:
    """What a config here would say against this provider; empty: nothing."""
    base_url, api_key = values["base_url"], values["api_key"]
    known = ProviderSection(
        name="x",
        dialect=values["dialect"],
        # What a variable holds is not known here.
        base_url="http://localhost" if is_variable(base_url) else base_url,
        api_key=None if api_key is None or is_variable(api_key) else api_key,
        query=values["query"] or {},
    )
    unread = [text for text in known.query.values() if not is_variable(text)]
    if any("${" in text for text in (known.base_url or "", known.api_key or "", *unread)):
        return "only a whole value can be read from the environment, not a part of one"
    found = next(provider_problems("", known), None)
    return "" if found is None else f"its {found.place.lstrip('.')} {found.text}"


def _named_there(prefix: str, model: str, *, has_base: bool) -> str:
    """The model's name as its provider has it."""
    if prefix == "huggingface" and not has_base and model.count("/") == 2:
        host, _, name = model.partition("/")
        return f"{name}:{host}"
    # Which endpoint a model is asked at is learned here.
    name = model.removeprefix("responses/") if prefix in {"openai", "azure"} else model
    # What LiteLLM is told of a deployment's kind before its name.
    return name.removeprefix("o_series/").removeprefix("gpt5_series/") if prefix == "azure" else name
