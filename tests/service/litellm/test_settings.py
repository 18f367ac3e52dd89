"""What becomes of the settings beside the models, where a plain reading of their names would mislead."""

import tomllib

import pytest

from service.litellm import Source, translate


def imported(config):
    models = [{"model_name": "m", "litellm_params": {"model": "openai/m"}, "model_info": {"mode": "chat"}}]
    return translate(Source({"model_list": models, **config})).text


def cached(**params):
    text = imported({"litellm_settings": {"cache": True, "cache_params": {"type": "local", **params}}})
    return tomllib.loads(text)["cache"], text


def test_a_cache_that_is_off_by_default_stores_nothing_unasked():
    values, text = cached(mode="default_off", ttl=60)
    assert values == {"enabled": False, "coalesce": False, "ttl_s": 60}
    assert (
        "mode default_off stores only what a call asks for; here, only routes with cache = true store.\n[cache]" in text
    )
    assert "cache_params.mode" not in text


def test_a_cache_that_is_on_by_default_stores():
    values, text = cached(mode="default_on")
    assert values == {"enabled": True}
    assert "default_off" not in text
    assert "cache_params.mode" not in text


@pytest.mark.parametrize(
    "config", [{"cache": True, "cache_params": {"mode": "sometimes"}}, {"cache_params": {"mode": "x"}}]
)
def test_the_reason_for_one_mode_is_not_told_of_another(config):
    text = imported({"litellm_settings": config})
    assert "of a cache that is on:\n#     litellm_settings.cache_params.mode" in text
    assert "whatever a model is for:\n#     model_list[0].model_info.mode" in text


def timed(router=None, litellm=None, entries=()):
    """({model: answer_timeout_s}, deadline_ms, the text): each entry becomes a provider of its own."""
    models = [
        {"model_name": f"m{n}", "litellm_params": {"model": "openai/m", "api_key": f"k{n}", **params}}
        for n, params in enumerate(entries)
    ]
    config = {"model_list": models, "router_settings": router or {}, "litellm_settings": litellm or {}}
    text = translate(Source(config)).text
    read = tomllib.loads(text)
    spans = [provider.get("answer_timeout_s") for provider in read["providers"]]
    return spans, read.get("router", {}).get("deadline_ms"), text


def test_the_routers_timeout_is_that_of_an_attempt_where_the_entry_has_none():
    spans, deadline_ms, text = timed({"timeout": 1}, entries=[{"timeout": 10}, {}, {"request_timeout": 20}])
    assert spans == [10, 1, 20]
    assert deadline_ms is None
    assert "timeout = " not in text.partition("What has no equivalent")[2]


def test_of_two_timeouts_for_all_the_one_of_litellm_counts_and_the_other_is_told():
    spans, _, text = timed({"timeout": 1}, {"request_timeout": 5}, [{"timeout": 10}, {}])
    assert spans == [10, 5]
    assert "has another, which counts before it:\n#     router_settings.timeout = 1" in text


def test_a_deadline_is_never_shorter_than_an_attempt_may_take():
    assert timed({"timeout": 30}, entries=[{"timeout": 900}, {}])[:2] == ([900, 30], 900_000)
    assert timed({"stream_timeout": 700}, entries=[{}])[1] == 700_000
    assert timed({"timeout": 30}, entries=[{"timeout": 600}])[1] is None


def test_a_timeout_that_is_none_is_told_and_so_is_one_of_an_entry_that_is_not_taken():
    text = timed(entries=[{"timeout": "soon"}, {"api_base": "nowhere", "timeout": 7}])[2]
    assert 'model_list[0].litellm_params.timeout = "soon"' in text
    assert "model_list[1].litellm_params.timeout = 7" in text
