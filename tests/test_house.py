"""What the import contract in pyproject.toml cannot say."""

import ast
import sys
import tomllib

import longhaul_testing
from core_config import ROOT, VERSION

OURS = {
    "agent",
    "gateway",
    "loadtest",
    "longhaul_client",
    "longhaul_testing",
    "monitoring",
    "operations",
    "taskstore",
    "worker",
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def test_core_config_imports_nothing_of_ours():
    assert not (OURS | {"agents_config", "schema_rules"}) & set(imported(ROOT / "core_config.py"))


def test_agents_config_imports_only_core_config_of_ours_and_no_llm_library():
    """The gateway reads the agents file too."""
    found = set(imported(ROOT / "agents_config.py"))
    assert not OURS & found
    assert found - sys.stdlib_module_names == {"core_config", "pydantic", "schema_rules"}


def test_schema_rules_imports_nothing_of_ours():
    assert not (OURS | {"agents_config", "core_config"}) & set(imported(ROOT / "schema_rules.py"))


def test_the_client_imports_httpx_and_nothing_else_that_has_to_be_installed():
    for path in (ROOT / "longhaul_client").rglob("*.py"):
        assert set(imported(path)) - sys.stdlib_module_names <= {"httpx", "longhaul_client"}, path


def test_the_examples_show_agents_the_one_module_that_is_for_them():
    for path in (ROOT / "examples").rglob("*.py"):
        found = {
            node.module or ""
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS
        }
        assert found <= {"agent.context"}, path
        assert not OURS & {name.split(".")[0] for name in set(imported(path)) - {"agent"}}, path


def test_pickle_is_imported_nowhere():
    for part in OURS:
        for path in (ROOT / part).rglob("*.py"):
            assert not {"pickle", "cloudpickle", "dill", "shelve", "marshal"} & set(imported(path)), path


def test_only_core_config_reads_the_environment():
    """Commands hand an environment on to children, monitoring must see prometheus-client's own variable, and the client
    runs in programs that have no core_config.
    """
    allowed = {"operations", "monitoring", "longhaul_client"}
    for part in OURS - allowed:
        for path in (ROOT / part).rglob("*.py"):
            text = path.read_text()
            assert "os.getenv" not in text, path
            assert "environ.get" not in text, path


def test_the_version_is_one():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_no_fixture_of_the_kit_has_the_name_of_one_of_its_modules():
    """Importing the module would put it in the fixture's place, and pytest would find no such fixture."""
    modules = {path.stem for path in (ROOT / "longhaul_testing").glob("*.py")}
    assert not modules & set(longhaul_testing.__all__)
