"""What an entry of `model_list` says that is special about its deployment: prices, sizes, when it is left alone."""

from typing import Any, Final

from service.litellm.amounts import per_mtok, seconds, whole
from service.litellm.source import Place, Source

PARAMS: Final = "litellm_params"
INFO: Final = "model_info"
_MOST_TOKENS: Final = 1_000_000_000
# {key of LiteLLM, for one token: key of [[models]], for a million}
_PRICES: Final = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cached_input_usd_per_mtok",
    "output_cost_per_reasoning_token": "reasoning_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_usd_per_mtok",
    "input_cost_per_audio_token": "input_audio_usd_per_mtok",
    "output_cost_per_audio_token": "output_audio_usd_per_mtok",
    "input_cost_per_image_token": "input_image_usd_per_mtok",
    "output_cost_per_image_token": "output_image_usd_per_mtok",
}
_INPUT: Final = "input_usd_per_mtok"
_OUTPUT: Final = "output_usd_per_mtok"
_SIZES: Final = {
    "max_input_tokens": "context_window",
    "max_output_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
}

# {key of [[models]]: its value, and where it was said; None: nowhere}
Found = dict[str, tuple[Any, Place | None]]
# As LiteLLM has it: what has no price costs nothing.
FREE: Final[Found] = {_INPUT: ("0", None), _OUTPUT: ("0", None)}


def particulars_of(source: Source, entry: Place) -> Found:
    """All of it that has an equivalent."""
    return {**_prices(source, entry), **_sizes(source, entry), **_patience(source, entry)}


def is_priced(found: Found) -> bool:
    """Whether a price is among it."""
    return _INPUT in found


def allowed_fails(source: Source, table: Place) -> tuple[int | None, Place]:
    """How many faults open a breaker, and where it was said: so many are allowed, the next one is not."""
    place = (*table, "allowed_fails")
    fails = source.get(*place)
    is_number = isinstance(fails, int) and not isinstance(fails, bool) and 0 <= fails < 1_000_000
    return (fails + 1 if is_number else None), place


def _prices(source: Source, entry: Place) -> Found:
    found: Found = {}
    for name, key in _PRICES.items():
        for table in (PARAMS, INFO):
            amount = per_mtok(source.get(*entry, table, name))
            if key not in found and amount is not None:
                found[key] = (amount, (*entry, table, name))
    return {**FREE, **found} if found.keys() & FREE.keys() else {}


def _patience(source: Source, entry: Place) -> Found:
    """When its breaker opens, and for how long."""
    found: Found = {}
    fails, fails_at = allowed_fails(source, (*entry, PARAMS))
    if fails is not None:
        found["breaker_threshold"] = (fails, fails_at)
    cooldown_at: Place = (*entry, PARAMS, "cooldown_time")
    if (cooldown_s := seconds(source.get(*cooldown_at))) is not None:
        found["breaker_cooldown_s"] = (cooldown_s, cooldown_at)
    return found


def _sizes(source: Source, entry: Place) -> Found:
    found: Found = {}
    for name, key in _SIZES.items():
        size = whole(source.get(*entry, INFO, name), _MOST_TOKENS)
        if key not in found and size is not None:
            found[key] = (size, (*entry, INFO, name))
    return found
