"""`model_name`s, aliases and fallbacks: each name that callers may use becomes a route."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from service.config.names import MAX_MODEL_CHARS
from service.litellm.deployments import MODELS, Entry, Fleet, own_place
from service.litellm.particulars import PARAMS
from service.litellm.source import Place, Source
from service.litellm.toml import Table

ROUTER: Final = "router_settings"
LITELLM: Final = "litellm_settings"
_STRATEGIES: Final = {
    "simple-shuffle": "weighted",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}
_MOST_WEIGHT: Final = 1_000_000
_ANY: Final = "*"


class Routes:
    """The routes of a config."""

    def __init__(self, source: Source, fleet: Fleet) -> None:
        self._source = source
        groups: dict[str, list[Entry]] = {}
        for entry in fleet.entries:
            groups.setdefault(entry.group, []).append(entry)
        self._vendors = fleet.vendors
        self._targets: dict[str, list[str]] = {}
        self._weights: dict[str, list[int]] = {}
        self.tables: list[Table] = []
        for group, entries in groups.items():
            if _is_name(group):
                self._targets[group] = self._in_order(group, entries)
            else:
                for entry in entries:
                    source.explain("it is no name of a route", MODELS, entry.index)
        for group in self._targets:
            self._add(group, _STRATEGIES.get(str(source.get(ROUTER, "routing_strategy")), "weighted"))
        self._tell_strategy()
        self._add_aliases()

    def _in_order(self, group: str, entries: list[Entry]) -> list[str]:
        """The targets in the order of `order`, where all have one; and their weights, where there is none."""
        source = self._source
        orders = [source.get(MODELS, entry.index, PARAMS, "order") for entry in entries]
        if all(isinstance(order, int) and not isinstance(order, bool) for order in orders):
            for entry in entries:
                source.use(MODELS, entry.index, PARAMS, "order")
            ordered = sorted(zip(orders, entries, strict=True), key=lambda pair: int(pair[0]))
            return list(dict.fromkeys(entry.target for _, entry in ordered))
        targets = list(dict.fromkeys(entry.target for entry in entries))
        self._weights[group] = self._shares(entries) if len(targets) == len(entries) > 1 else []
        return targets

    def _shares(self, entries: list[Entry]) -> list[int]:
        """How calls are spread: by `weight`, else by `rpm`, else by `tpm`, which all of them must say."""
        for name in ("weight", "rpm", "tpm"):
            places = [own_place(self._source, entry.index, name) for entry in entries]
            numbers = [self._source.get(*place) for place in places]
            if weights := _whole_shares(numbers):
                if name == "weight":
                    for place in places:
                        self._source.use(*place)
                return weights
        return []

    def _tell_strategy(self) -> None:
        """Why `routing_strategy` is that of no route, if it is."""
        place = (ROUTER, "routing_strategy")
        chosen = {table.values["strategy"] for table in self.tables if len(self._targets[table.values["name"]]) > 1}
        if not chosen:
            self._source.explain("no name has two deployments to choose between", *place)
        elif chosen == {"ordered"}:
            self._source.explain("the deployments of each name are asked in order", *place)
        elif self._source.get(*place) in _STRATEGIES:
            self._source.use(*place)
        else:
            text = (
                f"calls are spread by weights, else evenly; strategies with an equivalent are {', '.join(_STRATEGIES)}"
            )
            self._source.explain(text, *place)

    def _add(self, group: str, strategy: str) -> None:
        own, notes = self._targets[group], list[str]()
        fallbacks = [it for it in self._fallbacks(group, notes) if it not in own]
        if len(own) < 2 or group not in self._weights:
            strategy = "ordered"
        elif fallbacks:
            notes.append(
                "Its deployments are asked in order, whatever routing_strategy says: a fallback must come last."
            )
            strategy = "ordered"
        values: dict[str, Any] = {"name": group, "targets": [*own, *fallbacks], "strategy": strategy}
        if strategy == "weighted" and self._weights[group]:
            values["weights"] = self._weights[group]
        self.tables.append(Table(header="[[routes]]", values=values, notes=notes))

    def _fallbacks(self, group: str, notes: list[str]) -> list[str]:
        """Where calls to a group go when it fails, or when they are too long for it."""
        found: list[str] = []
        for section in (ROUTER, LITELLM):
            found += self._named(section, "fallbacks", group) or self._named(section, "fallbacks", _ANY)
            found += self._all((section, "default_fallbacks"))
            if larger := self._named(section, "context_window_fallbacks", group):
                notes.append("Its context_window_fallbacks are asked after any other failure, too.")
                found += larger
        return list(dict.fromkeys(found))

    def _named(self, section: str, key: str, group: str) -> list[str]:
        """`[{"gpt-4": ["claude", …]}]`, or the same as one table."""
        said = self._source.get(section, key)
        tables: list[tuple[Place, Any]] = (
            [((section, key, index), it) for index, it in enumerate(said)]
            if isinstance(said, list)
            else [((section, key), said)]
        )
        found: list[str] = []
        for place, table in tables:
            if isinstance(table, dict) and group in table:
                found += self._all((*place, group))
        return found

    def _all(self, place: Place) -> list[str]:
        """The targets of all groups that are listed there, as far as they are known."""
        said = self._source.get(*place)
        names = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        known = [self._of(name.get("model") if isinstance(name, dict) else name) for name in names]
        if any(isinstance(name, dict) for name in names):
            # Each is a setting of its own, and so is what is said in it beside the model.
            for index, (name, targets) in enumerate(zip(names, known, strict=True)):
                self._source.explain("a fallback is asked what the call asks: of it the model is taken", *place, index)
                self._tell((*place, index, "model") if isinstance(name, dict) else (*place, index), bool(targets))
        else:
            self._tell(place, bool(names) and all(known))
        return [target for targets in known for target in targets]

    def _tell(self, place: Place, is_taken: bool) -> None:
        if is_taken:
            self._source.use(*place)
        else:
            self._source.explain("those of it that are routes were taken, the others are none", *place)

    def _of(self, name: Any) -> list[str]:
        """The targets of a group, of an alias, or of a `provider/model` of a provider that is there."""
        if not isinstance(name, str):
            return []
        alias = self._source.get(ROUTER, "model_group_alias", name)
        group = alias.get("model") if isinstance(alias, dict) else alias
        for known in (name, group):
            if isinstance(known, str) and known in self._targets:
                return self._targets[known]
        prefix, _, model = name.partition("/")
        providers = self._vendors.get(prefix, [])
        return [f"{providers[0]}:{model}"] if model and providers else []

    def _add_aliases(self) -> None:
        place = (ROUTER, "model_group_alias")
        named = {str(table.values["name"]): table for table in self.tables}
        for alias, said in self._source.table(*place).items():
            at = (*place, alias, "model") if isinstance(said, dict) else (*place, alias)
            group = self._source.get(*at)
            if alias in named:
                self._source.explain("a route of this name is there already", *place, alias)
            elif not _is_name(alias) or not isinstance(group, str) or group not in named:
                self._source.explain("an alias stands for one of the routes", *place, alias)
            else:
                self._source.use(*at)
                values = {**named[group].values, "name": alias}
                self.tables.append(Table(header="[[routes]]", values=values, notes=[f"An alias of {group!r}."]))


def _whole_shares(numbers: Iterable[Any]) -> list[int]:
    """Weights in the same proportions, as whole numbers. Empty: not all of them are numbers above 0."""
    shares = []
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < _MOST_WEIGHT:
            return []
        shares.append(Decimal(str(number)))
    places = max((-int(share.as_tuple().exponent) for share in shares), default=0)
    weights = [int(share * 10 ** max(0, places)) for share in shares]
    return weights if all(1 <= weight <= _MOST_WEIGHT for weight in weights) else []


def _is_name(text: str) -> bool:
    return 0 < len(text.strip()) == len(text) <= MAX_MODEL_CHARS and text.isprintable()
