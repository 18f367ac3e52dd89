"""What is said of a setting that has no equivalent is true of it, and what has one is taken."""

import tomllib

import pytest

from service.litellm import Source, translate


def imported(models, **config):
    """models: [(name, parameters)]."""
    entries = [{"model_name": name, "litellm_params": params} for name, params in models]
    text = translate(Source({"model_list": entries, **config})).text
    return tomllib.loads(text), text


def of(model, **params):
    return {"model": model, **params}


def targets(read):
    return {route["name"]: route["targets"] for route in read["routes"]}


TWO = [("m", of("openai/a")), ("m", of("groq/b"))]


@pytest.mark.parametrize(
    ("models", "strategy", "said"),
    [
        ([("m", of("openai/a"))], "cost-based-routing", "no name has two deployments to choose between"),
        ([("m", of("openai/a"))], "least-busy", "no name has two deployments to choose between"),
        (
            TWO,
            "least-busy",
            "calls are spread by weights, else evenly; strategies with an equivalent are simple-shuffle",
        ),
        ([("m", of("openai/a", order=2)), ("m", of("groq/b", order=1))], "simple-shuffle", "are asked in order"),
        (TWO, "cost-based-routing", ""),
    ],
)
def test_why_a_strategy_is_not_taken_is_what_holds_for_these_models(models, strategy, said):
    read, text = imported(models, router_settings={"routing_strategy": strategy})
    if said:
        assert f"{said}" in text.partition("\n#     router_settings.routing_strategy")[0].rpartition("\n# - ")[2]
    else:
        assert read["routes"][0]["strategy"] == "cheapest"
        assert "routing_strategy" not in text


def test_a_fallback_that_is_a_table_is_taken_and_what_it_says_beside_its_model_is_told():
    models = [("a", of("openai/a")), ("b", of("groq/b")), ("c", of("xai/c"))]
    fallbacks = [{"a": [{"model": "b", "temperature": 0}, "c", {"model": "nobody"}, {"messages": []}, 1]}]
    read, text = imported(models, router_settings={"fallbacks": [*fallbacks, {"b": [{"model": "c"}]}]})
    assert targets(read) == {"a": ["openai:a", "groq:b", "xai:c"], "b": ["groq:b", "xai:c"], "c": ["xai:c"]}
    left = text.partition("What has no equivalent")[2]
    assert "of it the model is taken:\n#     router_settings.fallbacks[0].a[0].temperature = 0" in left
    assert 'others are none:\n#     router_settings.fallbacks[0].a[2].model = "nobody"' in left
    for taken in ("a[0].model", "a[1] ", "[1].b"):
        assert taken not in left


def test_a_fallback_may_be_an_alias():
    models = [("a", of("openai/a")), ("b", of("groq/b"))]
    aliases = {"other": "b", "hidden": {"model": "b", "hidden": True}, "odd": {"model": ["b"]}}
    config = {"fallbacks": [{"a": ["other", "hidden"]}, {"b": ["odd"]}], "model_group_alias": aliases}
    read, text = imported(models, router_settings=config)
    assert targets(read)["a"] == ["openai:a", "groq:b"]
    assert "fallbacks[0]" not in text
    assert 'fallbacks[1].b = ["odd"]' in text


@pytest.mark.parametrize("params", [{}, {"api_base": "http://localhost:1/v1"}])
@pytest.mark.parametrize("prefix", ["github", "voyage"])
def test_a_prefix_of_litellm_says_whose_model_it_is(prefix, params):
    read, text = imported([("m", of(f"{prefix}/m", **params))])
    assert "providers" not in read
    assert f"# - LiteLLM's provider '{prefix}' is not known here:" in text


def test_a_name_with_a_slash_that_is_no_prefix_says_nothing_of_whose_it_is():
    assert "it does not say whose model it is" in imported([("m", of("mistralai/mistral-7b"))])[1]


def test_an_organization_of_openai_is_a_header():
    read, text = imported(
        [
            ("a", of("openai/a", organization="org-1")),
            ("b", of("openai/b", organization="os.environ/ORG", extra_headers={"X-Team": "t"})),
            ("c", of("groq/c", organization="org-1")),
        ]
    )
    headers = [provider.get("headers") for provider in read["providers"]]
    assert headers == [
        {"OpenAI-Organization": "org-1"},
        {"OpenAI-Organization": "$ORG", "X-Team": "t"},
        None,
    ]
    assert text.count("organization = ") == 1
    assert "a header of [[providers]] to OpenAI: OpenAI-Organization:\n#     model_list[2]" in text
