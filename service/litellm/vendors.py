"""Who is behind a model's prefix in LiteLLM, and where and how Farthing asks there.

Source: LiteLLM's pages of its providers, for prefixes, default addresses and the variables of keys.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

Dialect = str


def _as_it_is(url: str) -> str:
    return url.rstrip("/").removesuffix("/chat/completions")


def _with_v1(url: str) -> str:
    """An address of a server whose own API is elsewhere than its OpenAI-compatible one."""
    url = _as_it_is(url)
    return url if url.endswith("/v1") else f"{url}/v1"


def _anthropic(url: str) -> str:
    return _as_it_is(url).removesuffix("/messages").removesuffix("/v1")


def _gemini(url: str) -> str:
    return _as_it_is(url).removesuffix("/v1beta").removesuffix("/v1")


class Vendor(NamedTuple):
    """base_url empty: the config must say it. key: the variable that holds the key where the config says none; empty:
    none is needed. based: what becomes of an address that the config says. must_end: what such an address must end in,
    where it is only known from a variable; empty: nothing. is_own: one's own server, which LiteLLM counts as free.
    """

    base_url: str
    key: str = ""
    dialect: Dialect = "openai"
    based: Callable[[str], str] = _as_it_is
    must_end: str = ""
    is_own: bool = False


_OLLAMA: Final = Vendor("http://localhost:11434/v1", based=_with_v1, must_end="/v1", is_own=True)
# Their addresses are more than a path: see `azure`.
AZURES: Final = frozenset({"azure", "azure_ai"})
_OWN: Final = Vendor("", is_own=True)
_ELSEWHERE: Final = Vendor("")
VENDORS: Final = {
    "openai": Vendor("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "azure": Vendor("", "AZURE_API_KEY", must_end="/openai/v1"),
    "azure_ai": Vendor("", "AZURE_AI_API_KEY", must_end="/models if it is at services.ai.azure.com"),
    "anthropic": Vendor(
        "https://api.anthropic.com", "ANTHROPIC_API_KEY", dialect="anthropic", based=_anthropic, must_end="no /v1"
    ),
    "gemini": Vendor(
        "https://generativelanguage.googleapis.com",
        "GEMINI_API_KEY",
        dialect="gemini",
        based=_gemini,
        must_end="no /v1beta",
    ),
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
    "openrouter": Vendor("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "groq": Vendor("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Vendor("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "codestral": Vendor("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "deepseek": Vendor("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "together_ai": Vendor("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Vendor("https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "xai": Vendor("https://api.x.ai/v1", "XAI_API_KEY"),
    "perplexity": Vendor("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "cerebras": Vendor("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "sambanova": Vendor("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "nvidia_nim": Vendor("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "deepinfra": Vendor("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "moonshot": Vendor("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "dashscope": Vendor("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "zai": Vendor("https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
    "novita": Vendor("https://api.novita.ai/v3/openai", "NOVITA_API_KEY"),
    "hyperbolic": Vendor("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "cohere": Vendor("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "cohere_chat": Vendor("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "huggingface": Vendor("https://router.huggingface.co/v1", "HF_TOKEN"),
    **dict.fromkeys(
        ("hosted_vllm", "vllm", "lm_studio", "llamafile", "xinference", "docker_model_runner", "lemonade"), _OWN
    ),
    **dict.fromkeys(("custom_openai", "openai_like", "custom", "litellm_proxy"), _ELSEWHERE),
}
# Whose way of being asked no dialect here speaks.
FOREIGN: Final = {
    "bedrock": "Bedrock takes requests that are signed by AWS (SigV4), which Farthing does not make",
    "sagemaker": "SageMaker takes requests that are signed by AWS (SigV4), which Farthing does not make",
    "sagemaker_chat": "SageMaker takes requests that are signed by AWS (SigV4), which Farthing does not make",
    "vertex_ai": "Vertex AI takes short-lived tokens of a service account, which Farthing does not fetch",
    "vertex_ai_beta": "Vertex AI takes short-lived tokens of a service account, which Farthing does not fetch",
    "watsonx": "watsonx takes short-lived tokens, which Farthing does not fetch",
    "databricks": "write a provider of the dialect openai with your workspace's /serving-endpoints as base_url",
    "github_copilot": "its key comes from a sign-in, which Farthing does not do",
    "replicate": "Replicate's own API is none that Farthing speaks",
    "text-completion-openai": "text completions are not chat, and not served here",
}
# Prefixes of LiteLLM 1.106 (`LlmProviders`) beside these: a model that has one of them says whose it is.
_OTHERS: Final = frozenset(
    """
    a2a a2a_agent ai21 ai21_chat aiml aiohttp_openai amazon_nova anthropic_text apertis assemblyai auto_router
    aws_polly aws_textract azure_speech azure_text baseten bedrock_mantle black_forest_labs bytez charity_engine
    chatgpt chutes clarifai cloudflare cognition cometapi compactifai cortecs cursor darkbloom datarobot deepgram
    dotprompt edenai elevenlabs empower fal_ai featherless_ai friendliai galadriel gdc gigachat github gradient_ai
    helicone heroku humanloop inception infinity jina_ai lambda_ai langflow langfuse langgraph libertai
    litellm_agent manus maritalk meta meta_llama milvus minimax modelscope mongodb morph nadir nano-gpt nebius
    neosantara nlp_cloud nscale nvidia_riva oci oobabooga ovhcloud parasail petals pg_vector pinstripes poe
    predibase prism publicai qwen_ai_platform qwencloud ragflow recraft reducto reka runwayml s3_vectors
    sagemaker_nova sail sap scaleway scx-ai snowflake soniox stability strands_decider synthetic tencent tensormesh
    text-completion-codestral text-completion-inception topaz transcribe triton typesafe v0 valkey vercel_ai_gateway
    volcengine voyage wandb watsonx_text xiaomi_mimo
    """.split()  # noqa: SIM905  As a list, each name would have its line.
)
# Models without a prefix that LiteLLM knows by name, by how they begin.
_KNOWN: Final = (
    (("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-", "ft:gpt-"), "openai"),
    (("claude-",), "anthropic"),
    (("gemini-",), "vertex_ai"),
    (("command-",), "cohere_chat"),
)


def vendor_of(model: str, *, named: str | None, has_base: bool) -> tuple[str, str]:
    """(prefix, model's name there) of what LiteLLM is told. named: its `custom_llm_provider`. Empty prefix: unknown.

    has_base: an address was said, so that a model without a prefix is asked there as OpenAI's would be.
    """
    prefix, slash, rest = model.partition("/")
    if named:
        return named, rest if slash and prefix == named else model
    if slash and (prefix in VENDORS or prefix in FOREIGN or prefix in _OTHERS):
        return prefix, rest
    if not slash:
        known = next((vendor for starts, vendor in _KNOWN if model.startswith(starts)), "")
        if known:
            return known, model
    return ("openai", model) if has_base else ("", model)
