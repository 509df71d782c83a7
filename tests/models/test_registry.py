"""The model registry: what ships, MODELS_FILE, keys, and which model is active."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import core_config
from agent.quiet_litellm import litellm
from core_config import (
    MODEL_REGISTRY,
    SIMULATOR,
    ConfigurationError,
    ModelConfig,
    Settings,
    estimate_cost,
    get_active_config,
    get_api_key,
    get_base_url,
    get_litellm_id,
    get_model_list,
    load_registry,
    resolve_active_model,
)

KEY = "sk-4f9a8b7c6d5e"
HASH = "ab" * 32


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither the machine's keys nor its .env; a test writes its own where this says."""
    for model in MODEL_REGISTRY.values():
        if model.api_key_env:
            monkeypatch.delenv(model.api_key_env, raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(core_config, "ENV_FILE", tmp_path / ".env")
    return tmp_path / ".env"


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def from_file(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    return settings(models_file=path)


# What ships


@pytest.mark.parametrize("name", [n for n, m in MODEL_REGISTRY.items() if m.api_key_env])
def test_a_shipped_model_is_served_today(name: str) -> None:
    model = MODEL_REGISTRY[name]
    table = litellm.model_cost
    entry = table.get(model.litellm_id) or table.get(model.litellm_id.partition("/")[2])
    assert entry, f"{model.litellm_id} is not in LiteLLM's table: point {name} at a model that is served"
    ends = entry.get("deprecation_date")
    today = datetime.now(UTC).date()
    assert ends is None or date.fromisoformat(ends) > today, f"{model.litellm_id} was switched off on {ends}"
    assert entry["litellm_provider"] == model.litellm_id.partition("/")[0]
    assert entry["supports_function_calling"]
    assert model.max_tokens_limit <= entry["max_output_tokens"]
    assert model.max_concurrency


def test_what_the_design_names_ships() -> None:
    assert get_litellm_id("DeepSeek-V3", settings()) == "deepseek/deepseek-flash"
    assert MODEL_REGISTRY["DeepSeek-V3"].params == {"thinking": {"type": "disabled"}}
    assert (get_litellm_id("Qwen-Max", settings()), MODEL_REGISTRY["Qwen-Max"].api_key_env) == (
        "dashscope/qwen-max",
        "DASHSCOPE_API_KEY",
    )
    assert {m.litellm_id.partition("/")[0] for m in MODEL_REGISTRY.values()} >= {"openai", "anthropic"}
    assert [name for name, model in MODEL_REGISTRY.items() if model.simulated] == [SIMULATOR]
    assert "Local" in MODEL_REGISTRY


@pytest.mark.parametrize(("port", "url"), [(None, "http://127.0.0.1:8010/v1"), (9123, "http://127.0.0.1:9123/v1")])
def test_the_simulator_s_address_follows_its_port(port: int | None, url: str) -> None:
    given = settings(simulator_port=port)
    assert get_base_url(SIMULATOR, given) == load_registry(given)[SIMULATOR].base_url == url


def test_the_simulator_may_be_on_another_host() -> None:
    given = settings(simulator_host="simulator", simulator_port=9123)
    assert get_base_url(SIMULATOR, given) == "http://simulator:9123/v1"


# Which model is active


@pytest.mark.parametrize(
    ("environment", "values", "active"),
    [
        ({}, {}, SIMULATOR),
        ({"DASHSCOPE_API_KEY": KEY}, {}, "Qwen-Max"),
        ({"DEEPSEEK_API_KEY": KEY, "DASHSCOPE_API_KEY": KEY}, {}, "DeepSeek-V3"),
        ({"DEEPSEEK_API_KEY": "sk-xxxx", "DASHSCOPE_API_KEY": KEY}, {}, "Qwen-Max"),
        ({"DEEPSEEK_API_KEY": "sk-xxxx"}, {}, SIMULATOR),
        ({"ANTHROPIC_API_KEY": KEY}, {"api_keys": f"a:{HASH}", "gateway_host": "0.0.0.0"}, "Claude"),
        ({"OPENAI_API_KEY": KEY}, {"active_model_key": SIMULATOR}, SIMULATOR),
        ({"OPENAI_API_KEY": KEY}, {"active_model_key": "GPT-Small"}, "GPT-Small"),
        ({}, {"active_model_key": "Local"}, "Local"),
        ({}, {"active_model_key": SIMULATOR, "api_keys": f"a:{HASH}"}, SIMULATOR),
        ({}, {"active_model_key": SIMULATOR, "gateway_host": "0.0.0.0"}, SIMULATOR),
        ({}, {"gateway_host": "::1"}, SIMULATOR),
    ],
)
def test_the_active_model(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], values: dict[str, Any], active: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve_active_model(settings(**values)) == active
    assert get_active_config(settings(**values)) == load_registry(settings(**values))[active]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"active_model_key": "Qwen-Max"}, "DASHSCOPE_API_KEY holds no key. Set DASHSCOPE_API_KEY in the environment"),
        ({"active_model_key": "qwen-max"}, "ACTIVE_MODEL_KEY is 'qwen-max', .* did you mean 'Qwen-Max'.* DeepSeek-V3,"),
        ({"active_model_key": "gpt-2"}, "Known: DeepSeek-V3, Qwen-Max, .*Simulator"),
        ({"api_keys": f"a:{HASH}"}, "Simulator is not taken unasked. Set one of DEEPSEEK_API_KEY, .*ACTIVE_MODEL_KEY="),
        ({"api_keys_file": Path("keys")}, "not taken unasked"),
        ({"gateway_host": "0.0.0.0"}, "GATEWAY_HOST=0.0.0.0 the Simulator is not taken"),
    ],
)
def test_a_choice_that_cannot_work_says_what_to_do(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        resolve_active_model(settings(**values))


def test_a_placeholder_for_the_chosen_model_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-xxxx")
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY holds no key") as caught:
        resolve_active_model(settings(active_model_key="Qwen-Max"))
    assert "xxxx" not in str(caught.value)


# Keys


@pytest.mark.parametrize(
    "value",
    """
    |  |sk-xxxx|sk-xxxxxxxxxxxxxxxx|sk-xxxx-xxxx|XXXX|your-key-here|your_api_key|sk-your-key|<your key>|<...>|changeme
    |CHANGE_ME|change-me-please|replace-me|...|sk-...|…|***|todo|none|NULL|placeholder|${DEEPSEEK_API_KEY}|{key}
    |example-key|put-your-key-here|insert key|sk-ant-your-key|sk-1234|sk-123456|paste-key-here
    """.replace("\n", "").split("|"),
)
def test_a_placeholder_is_not_a_key(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", value)
    assert get_api_key("DeepSeek-V3", settings()) is None


@pytest.mark.parametrize(
    "value", [KEY, "sk-ant-api03-Xx_9", "a" * 200, "tok-xxxxyz", "sk-proj-none-of-it", " sk-4f9a "]
)
def test_a_key_is_a_key(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", value)
    assert get_api_key("DeepSeek-V3", settings()) == value.strip()


def test_any_variable_resolves_from_the_environment_and_env_file_alike(
    monkeypatch: pytest.MonkeyPatch, bare: Path, tmp_path: Path
) -> None:
    given = from_file(tmp_path, '[Mine]\nlitellm_id = "openai/mine"\napi_key_env = "MY_OWN_KEY"\n')
    assert get_api_key("Mine", given) is None
    bare.write_text("MY_OWN_KEY='from-env-file'\n", encoding="utf-8")
    assert get_api_key("Mine", given) == "from-env-file"
    monkeypatch.setenv("MY_OWN_KEY", "")  # as for settings, empty counts as not set
    assert get_api_key("Mine", given) == "from-env-file"
    monkeypatch.setenv("MY_OWN_KEY", "from-environment")
    assert get_api_key("Mine", given) == "from-environment"
    assert resolve_active_model(given) == "Mine"


# MODELS_FILE


def test_a_file_adds_models_and_changes_fields_of_shipped_ones(tmp_path: Path) -> None:
    given = from_file(
        tmp_path,
        '["My model"]\nlitellm_id = "openai/mine"\nbase_url = "http://10.0.0.5:8000/v1"\nprice_in = 0.001\n'
        'price_out = 0.002\nfallbacks = ["Qwen-Max"]\n'
        '[Qwen-Max]\nbase_url = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"\n'
        "[DeepSeek-V3.params]\ntemperature = 0\n",
    )
    registry = load_registry(given)
    assert registry["My model"].fallbacks == ("Qwen-Max",)
    assert (get_litellm_id("Qwen-Max", given), registry["Qwen-Max"].max_concurrency) == ("dashscope/qwen-max", 20)
    assert get_base_url("Qwen-Max", given) == "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
    assert registry["DeepSeek-V3"].params == {"temperature": 0}
    assert get_model_list(given) == [*MODEL_REGISTRY, "My model"]
    assert estimate_cost(1000, 500, "My model", given) == pytest.approx(0.002)
    assert MODEL_REGISTRY["Qwen-Max"].base_url != registry["Qwen-Max"].base_url  # the shipped one stays as it is


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[Mine]\nlitellm_id = \n", "models.toml is not valid TOML: .*line 2"),
        ('litellm_id = "openai/x"\n', "models.toml, line 1: 'litellm_id' stands outside a table.*My-Model"),
        ('# x\n[Mine]\nlitelm_id = "openai/x"\n', "line 3, model 'Mine', litelm_id: .*did you mean 'litellm_id'"),
        ("[Mine]\nprice_in = 1\n", "line 1, model 'Mine', litellm_id: Field required"),
        (
            '[Other]\nlitellm_id = "a/y"\nprice_in = 1\nprice_out = 1\n[Mine]\nlitellm_id = "a/x"\nprice_in = ""\n',
            "line 7, model 'Mine', price_in: .*valid number",
        ),
        ('[Mine]\nlitellm_id = "gpt"\n', "line 2, model 'Mine', litellm_id: "),
        (
            '[Mine]\nlitellm_id = "openai/x"\nprice_in = 1\n',
            "model 'Mine', fields: set price_in and price_out together",
        ),
        ('[Mine]\nlitellm_id = "openai/x"\nbase_url = "localhost"\n', "line 3, model 'Mine', base_url: "),
        (
            '[Mine]\nlitellm_id = "openai/x"\n[Mine.params]\nmax_retries = 3\n',
            "params may not hold max_retries: Longhaul sets that itself",
        ),
        ('[Mine]\nlitellm_id = "openai/x"\nfallbacks = ["Qwen"]\n', "'Mine' falls back to 'Qwen', .*'Qwen-Max'"),
        ("[DeepSeek-V3]\nmax_concurrency = 0\n", "line 2, model 'DeepSeek-V3', max_concurrency: .*greater than"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){told}"):
        load_registry(from_file(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml cannot be read \(No such file"):
        load_registry(settings(models_file=tmp_path / "nowhere.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"bytes\.toml is not valid TOML"):
        load_registry(settings(models_file=tmp_path / "bytes.toml"))


# Prices and lookups


def test_a_price_is_the_registry_s_or_unknown() -> None:
    assert estimate_cost(1000, 1000, SIMULATOR, settings()) == 0.0
    assert estimate_cost(1000, 1000, "GPT", settings()) is None
    priced = ModelConfig(litellm_id="openai/x", price_in=0.5, price_out=2.0)
    assert priced.cost(2000, 500) == pytest.approx(2.0)


def test_lookups_without_a_key_are_of_the_active_model() -> None:
    assert get_litellm_id(settings=settings()) == "openai/simulator"
    with pytest.raises(ConfigurationError, match=r"'GTP'.*did you mean 'GPT'"):
        get_litellm_id("GTP", settings())
