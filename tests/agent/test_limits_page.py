"""docs/limits.md says what the code does: the cooldowns, which errors fall back, and its example is a registry."""

import re
import tomllib
from pathlib import Path

from agent.errors import ErrorCode
from agent.fallbacks import FALLS_BACK
from core_config import ROOT, Settings, load_registry
from taskstore.scripts import FOLDER

PAGE = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) s \| (\d+) s \|$", PAGE, re.MULTILINE)


def test_the_table_of_cooldowns_is_that_of_the_script() -> None:
    lua = (FOLDER / "_gates.lua").read_text()
    table = re.findall(r"^  (\w+) = \{ (\d+), (\d+)000, (\d+)000 \},$", lua, re.MULTILINE)
    assert table == ROWS
    assert {row[0] for row in ROWS} <= set(ErrorCode)


def test_the_same_codes_fall_back() -> None:
    assert {row[0] for row in ROWS} == FALLS_BACK


def test_the_example_is_a_registry(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "models.toml"
    file.write_text(example, encoding="utf-8")
    registry = load_registry(Settings(_env_file=None, models_file=file))
    model = registry["My-Model"]
    assert tomllib.loads(example)["My-Model"] == model.model_dump(mode="json", exclude_unset=True)
    assert (model.rpm, model.max_concurrency, model.fallbacks) == (300, 20, ("GPT-Small",))
