"""What models and cost say."""

import datetime as dt

from core_config import MODEL_REGISTRY, ModelConfig, Settings
from operations import cost, models
from taskstore.records import UsageRow
from taskstore.store import TaskStore

from .conftest import Copy

TODAY = dt.date(2026, 11, 21)


def test_a_models_state_is_its_providers_word() -> None:
    real = MODEL_REGISTRY["Qwen-Max"]
    assert models.state(real, {"deprecation_date": "2026-11-21"}, TODAY) == "retired 2026-11-21"
    assert models.state(real, {"deprecation_date": "2026-11-22"}, TODAY) == "retires 2026-11-22"
    assert models.state(real, {}, TODAY) == "live"
    assert models.state(ModelConfig(litellm_id="openai/mine"), None, TODAY) == "unknown to LiteLLM"
    assert models.state(MODEL_REGISTRY["Local"], None, TODAY) == "your own server"
    assert models.state(MODEL_REGISTRY["Simulator"], None, TODAY) == "SIMULATED"


def test_the_registrys_price_goes_before_litellms_and_unknown_is_said() -> None:
    own = ModelConfig(litellm_id="openai/mine", price_in=0.002, price_out=0.01)
    known = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}
    assert models.prices(own, known) == ("2", "10")
    assert models.prices(ModelConfig(litellm_id="openai/mine"), known) == ("1", "2")
    assert models.prices(ModelConfig(litellm_id="openai/mine"), None) == ("unknown", "unknown")


def test_models_lists_the_registry_and_marks_the_active(copy: Copy) -> None:
    copy.add("agent")
    listed = copy.manage("models", DASHSCOPE_API_KEY="sk-0123456789abcdef", DEEPSEEK_API_KEY="sk-xxxx")
    assert listed.returncode == 0, listed.stderr
    rows = {line[2:].split()[0]: line for line in listed.stdout.splitlines() if line[2:].split()}
    assert rows.keys() >= MODEL_REGISTRY.keys()
    assert rows["Qwen-Max"].startswith("* ")
    assert "DASHSCOPE_API_KEY set" in rows["Qwen-Max"]
    assert "DEEPSEEK_API_KEY not set" in rows["DeepSeek-V3"]
    assert "0123456789abcdef" not in listed.stdout
    assert "SIMULATED" in rows["Simulator"]


def row(day: str, name: str, cost_usd: float | None, unpriced: int = 0) -> UsageRow:
    return UsageRow(day, name, 1, 10, 5, 15, cost_usd, unpriced)


def test_days_add_up_by_name_and_an_unknown_cost_stays_unknown() -> None:
    totals = cost.summed([
        row("2026-11-20", "alice", 0.25),
        row("2026-11-21", "alice", None, 1),
        row("2026-11-21", "bob", None, 1),
        row("2026-11-21", "carol", 0.5),
    ])  # fmt: skip
    assert [total.name for total in totals] == ["carol", "alice", "bob"]
    assert [cost.cost_text(total) for total in totals] == ["$0.500000", "$0.250000 + 1 unknown", "unknown"]
    assert (totals[1].tasks, totals[1].prompt_tokens, totals[1].total_tokens) == (2, 20, 30)


async def test_cost_reads_the_stores_totals(copy: Copy, store: TaskStore, settings: Settings) -> None:
    """Nothing spent yet is said, and for programs it is a table without rows."""
    environment = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
    people = copy.manage("cost", "--by", "user", "--since", "2w", **environment)
    assert (people.returncode, people.stdout) == (0, "No task has used a model in the last 14 days.\n")
    programs = copy.manage("cost", "--by", "user", "--csv", **environment)
    assert programs.stdout == "user,tasks,prompt_tokens,completion_tokens,total_tokens,cost_usd,unpriced\n"
