"""Where an Azure entry of LiteLLM's is asked afterwards: at the address and the deployment that LiteLLM asked.

What LiteLLM asks was read from its 1.106: `llms/azure/common_utils.py`, `llms/azure_ai/chat/transformation.py`.
"""

import tomllib

import pytest

from service.config import load_config
from service.litellm import Source, translate

OWN = "https://x.openai.azure.com"
GATEWAY = "https://apim.corp.net/team-gateway"
FOUNDRY = "https://r.services.ai.azure.com"
USUAL = "2025-02-01-preview"


def imported(model, api_base, **params):
    entry = {"model_name": "chat", "litellm_params": {"model": model, "api_base": api_base, "api_key": "k", **params}}
    return translate(Source({"model_list": [entry]})).text


def asked(text):
    """(address, query, what the key goes in) of the only provider."""
    (provider,) = tomllib.loads(text)["providers"]
    return provider["base_url"], provider.get("query", {}), provider.get("auth_header")


def dated(version="2024-02-01"):
    return {"api-version": version}


CASES = [
    # A deployment that the address names.
    ("azure/gpt-4o", f"{OWN}/openai/deployments/prod-eu-foo", "2024-02-01",
     f"{OWN}/openai/deployments/prod-eu-foo", dated(), None),
    ("azure/gpt-4o", f"{OWN}/openai/deployments/foo/chat/completions?api-version=2024-06-01", "2024-02-01",
     f"{OWN}/openai/deployments/foo", dated(), None),
    ("azure/gpt-4o", f"{OWN}/openai/deployments/foo?api-version=2024-06-01", None,
     f"{OWN}/openai/deployments/foo", dated("2024-06-01"), None),
    ("azure/gpt-4o", f"{OWN}/openai/deployments/foo/", None, f"{OWN}/openai/deployments/foo", dated(USUAL), None),
    # A resource of Azure's own has the same deployments at /openai/v1.
    ("azure/gpt-4o", f"{OWN}/", "2024-02-01", f"{OWN}/openai/v1", {}, None),
    ("azure/gpt-4o", f"{OWN}/openai/v1/", "preview", f"{OWN}/openai/v1", {}, None),
    # A gateway before it keeps its path, and has what LiteLLM asked there.
    ("azure/gpt-4o", GATEWAY, "2024-02-01", f"{GATEWAY}/openai/deployments/gpt-4o", dated(), "api-key"),
    ("azure/o_series/mine", GATEWAY, "2024-02-01", f"{GATEWAY}/openai/deployments/mine", dated(), "api-key"),
    ("azure/gpt-4o", f"{GATEWAY}/openai/deployments/foo", "2024-02-01",
     f"{GATEWAY}/openai/deployments/foo", dated(), "api-key"),
    ("azure/gpt-4o", GATEWAY, "latest", f"{GATEWAY}/openai/v1", {}, None),
    ("azure/gpt-4o", "https://x.azure-api.net", "os.environ/AZURE_API_VERSION",
     "https://x.azure-api.net/openai/deployments/gpt-4o", dated("$AZURE_API_VERSION"), None),
    ("azure/gpt-4o", "https://gateway.ai.cloudflare.com/v1/me/mine/azure-openai/res", "2024-02-01",
     "https://gateway.ai.cloudflare.com/v1/me/mine/azure-openai/res/gpt-4o", dated(), "api-key"),
    # Models that are not OpenAI's are asked at the address itself, below /models at a Foundry resource.
    ("azure_ai/mistral-large", "https://r.models.ai.azure.com/", None, "https://r.models.ai.azure.com", {}, None),
    ("azure_ai/mistral-large", "https://r.eastus2.inference.ml.azure.com/v1/chat/completions", "2024-02-01",
     "https://r.eastus2.inference.ml.azure.com/v1", dated(), None),
    ("azure_ai/DeepSeek-R1", f"{FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview", None,
     f"{FOUNDRY}/models", dated("2024-05-01-preview"), None),
    ("azure_ai/DeepSeek-R1", f"{FOUNDRY}/models?api-version=2024-05-01-preview", "2024-02-01",
     f"{FOUNDRY}/models", dated("2024-05-01-preview"), None),
    ("azure_ai/DeepSeek-R1", FOUNDRY, "2024-02-01", f"{FOUNDRY}/models", dated(), None),
    ("azure_ai/DeepSeek-R1", "https://x.azure-api.net/ai", None, "https://x.azure-api.net/ai", {}, "authorization"),
    # LiteLLM takes these for entries of `azure`.
    ("azure_ai/gpt-4o", OWN, "2024-02-01", f"{OWN}/openai/v1", {}, None),
    ("azure_ai/gpt-4o", f"{FOUNDRY}/openai/deployments/foo", "2024-02-01",
     f"{FOUNDRY}/openai/deployments/foo", dated(), None),
]  # fmt: skip


@pytest.mark.parametrize(("model", "api_base", "version", "base_url", "query", "auth_header"), CASES, ids=range(20))
def test_an_azure_entry_is_asked_where_litellm_asked_it(
    tmp_path, model, api_base, version, base_url, query, auth_header
):
    text = imported(model, api_base, **({"api_version": version} if version else {}))
    assert asked(text) == (base_url, query, auth_header)
    (tmp_path / "farthing.toml").write_text(text, "utf-8")
    config = load_config(str(tmp_path / "farthing.toml"), {"AZURE_API_VERSION": "2024-02-01"})
    assert config.routes[0].targets == (f"{model.partition('/')[0]}:{model.rpartition('/')[2]}",)


def test_a_version_that_is_not_asked_for_is_told_and_so_is_one_that_nobody_said():
    assert "takes no version:\n#     model_list[0].litellm_params.api_version" in imported(
        "azure/m", OWN, api_version="2024-02-01"
    )
    assert "api_version" not in imported("azure/m", GATEWAY, api_version="2024-02-01")
    assert "# No api-version was said: this is LiteLLM's own" in imported("azure/m", GATEWAY)
    text = imported("azure/m", f"{GATEWAY}?api-version=2024-06-01")
    assert f"# LiteLLM asks for {USUAL} here, whatever the address says.\n[[providers]]" in text


def test_the_version_of_all_is_that_of_an_entry_without_one():
    entry = {"model_name": "chat", "litellm_params": {"model": "azure/m", "api_base": GATEWAY}}
    text = translate(Source({"model_list": [entry], "litellm_settings": {"api_version": "2024-02-01"}})).text
    assert asked(text)[1] == dated()
    assert "api_version" not in text


@pytest.mark.parametrize(
    ("model", "api_base", "said"),
    [
        ("azure_ai/claude-sonnet-4-5", FOUNDRY, "write a provider of the dialect anthropic"),
        ("azure/m", "https://[", "is no http:// or https:// address"),
        ("azure/m", "https://u:hunter2@x.openai.azure.com", "must not have a user or password in it"),
    ],
)
def test_what_cannot_be_asked_there_is_said_and_not_taken(model, api_base, said):
    text = imported(model, api_base)
    assert "providers" not in tomllib.loads(text)
    assert said in text
    assert "hunter2" not in text
