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
