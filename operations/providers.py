"""What `models test` knows of the providers of the shipped models: where their keys and their money are, and which keys
belong to which address. Each line is the provider's own documentation of November 2026.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import SequenceMatcher
from urllib.parse import urlsplit

from core_config import MODEL_REGISTRY, ModelConfig


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    keys: str
    """Where its keys are made."""
    money: str
    """What to do about an empty account."""
    sites: Mapping[str, str] = field(default_factory=dict)
    """By base_url the region whose keys it takes, where keys of one region are strangers in the others."""


PROVIDERS: Mapping[str, Provider] = {
    "deepseek": Provider(
        "DeepSeek", "https://platform.deepseek.com/api_keys", "Top up at https://platform.deepseek.com/top_up."
    ),
    # https://www.alibabacloud.com/help/en/model-studio/base-url; there is an address for each workspace, too
    "dashscope": Provider(
        "Alibaba Cloud Model Studio",
        "https://www.alibabacloud.com/help/en/model-studio/get-api-key",
        "Pay what is overdue, or end the free tier's limit, in the console of the account that made the key: "
        "https://help.aliyun.com/zh/model-studio/error-code#overdue-payment.",
        {
            "https://dashscope.aliyuncs.com/compatible-mode/v1": "China (Beijing)",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1": "Singapore (the international site)",
            "https://dashscope-us.aliyuncs.com/compatible-mode/v1": "US (Virginia)",
            "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1": "China (Hong Kong)",
        },
    ),
    "openai": Provider(
        "OpenAI",
        "https://platform.openai.com/account/api-keys",
        "Add credit at https://platform.openai.com/settings/organization/billing; a ChatGPT subscription is none.",
    ),
    "anthropic": Provider(
        "Anthropic",
        "https://platform.claude.com/settings/keys",
        "Buy credits at https://platform.claude.com/settings/billing; a Claude subscription is none.",
    ),
}


def provider_of(model: ModelConfig) -> Provider | None:
    """None for a provider that is not in the table, and for a server of one's own that speaks OpenAI's language."""
    prefix = model.litellm_id.partition("/")[0]
    if model.simulated:
        return None
    if prefix == "openai" and model.base_url and urlsplit(model.base_url).hostname != "api.openai.com":
        return None
    return PROVIDERS.get(prefix)


def region_of(provider: Provider, model: ModelConfig) -> str | None:
    """The region whose keys the model's base_url takes; None when that is not known."""
    host = urlsplit(model.base_url or "").hostname
    return next((region for url, region in provider.sites.items() if urlsplit(url).hostname == host), None)


def retired_on(known: Mapping[str, object] | None, today: date) -> str | None:
    """The day on which a model was switched off, as LiteLLM's table has it; None when it was not, or nobody knows."""
    day = (known or {}).get("deprecation_date")
    try:
        return day if isinstance(day, str) and date.fromisoformat(day) <= today else None
    except ValueError:
        return None


def successors(model: ModelConfig, table: Mapping[str, Mapping[str, object]], today: date, most: int = 3) -> list[str]:
    """LiteLLM ids of the same provider in place of one that is not served: those that Longhaul ships first, then chat
    models of LiteLLM's table that it has no end date of, the likest name first.
    """
    provider, _, name = model.litellm_id.partition("/")
    if provider_of(model) is None:
        return []  # what somebody's own server serves is in nobody's table
    shipped = [one.litellm_id for one in MODEL_REGISTRY.values() if provider_of(one) is provider_of(model)]
    listed = {
        f"{provider}/{key.removeprefix(provider + '/')}"
        for key, about in table.items()
        if about.get("litellm_provider") == provider and about.get("mode") == "chat" and ":" not in key
        and retired_on(about, today) is None
    }  # fmt: skip
    nearest = sorted(listed, key=lambda one: (-SequenceMatcher(None, name, one.partition("/")[2]).ratio(), one))
    return _without(model.litellm_id, [*shipped, *nearest])[:most]


def _without(refused: str, found: Iterable[str]) -> list[str]:
    return [one for one in dict.fromkeys(found) if one != refused]
