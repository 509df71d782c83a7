"""Every setting of `.env.example` changes something: the table names the test that shows it.

A setting without a row fails, and so does a row whose test is gone or no longer sets it.
"""

import ast
from functools import cache

import pytest

from core_config import ROOT

SHOWN_BY = {
    "tests/system/test_neighbours.py": {
        "REDIS_URL": "on_one_redis",
        "KEY_PREFIX": "on_one_redis",
    },
    "tests/system/test_metrics.py": {
        "GATEWAY_PROCESSES": "four",
        "WORKER_PROCESSES": "four",
        "VAR_DIR": "four",
    },
    "tests/edges/test_settings_of_a_process.py": {
        "GATEWAY_HOST": "test_a_gateway_listens_where_it_is_told",
        "GATEWAY_PORT": "test_a_gateway_listens_where_it_is_told",
        "MAX_MESSAGE_CHARS": "test_a_message_may_be_as_long_as_the_setting_says",
        "MAX_INPUT_BYTES": "test_an_input_may_be_as_large_as_the_setting_says",
        "LOG_LEVEL": "test_a_log_is_as_talkative_as_the_setting_says",
    },
    "tests/system/test_two_copies.py": {
        "WORKER_METRICS_HOST": "test_two_copies_run_and_count_their_own_tasks",
        "WORKER_METRICS_PORT": "test_two_copies_run_and_count_their_own_tasks",
    },
    "tests/system/test_which_model.py": {
        "API_KEYS": "test_with_keys_a_simulator_chosen_by_name_runs_and_asks_for_the_key",
    },
    "tests/gateway/test_auth.py": {
        "API_KEYS_FILE": "test_the_keys_file_is_read_again_when_it_changes",
    },
    "tests/gateway/test_cors.py": {
        "CORS_ORIGINS": "listed",
    },
    "tests/gateway/test_chat.py": {
        "CHAT_TIMEOUT_SECONDS": "test_a_slow_chat_is_a_504_while_its_task_goes_on",
    },
    "tests/gateway/test_events.py": {
        "STREAM_KEEPALIVE_SECONDS": "test_a_silent_stream_says_that_it_is_there",
    },
    "tests/gateway/test_watch_tokens.py": {
        "WATCH_TOKEN_SECONDS": "test_a_token_lets_in_for_its_time_only",
    },
    "tests/gateway/test_bad_input.py": {
        "MAX_BODY_BYTES": "test_a_body_at_the_limit_is_read",
    },
    "tests/taskstore/test_submit.py": {
        "QUEUE_MAX_DEPTH": "test_a_full_queue_writes_nothing",
    },
    "tests/worker/test_slots.py": {
        "WORKER_CONCURRENCY": "test_an_interactive_task_starts_in_an_extra_slot_while_all_others_are_taken",
    },
    "tests/edges/test_settings_of_the_store.py": {
        "LEASE_SECONDS": "test_a_lease_lasts_as_long_as_the_setting_says",
        "MAX_RETRIES": "test_a_task_is_retried_as_often_as_the_setting_says",
        "MAX_CRASHES": "test_a_task_may_take_down_as_many_workers_as_the_setting_says",
        "RESULT_TTL_SECONDS": "test_a_finished_task_is_kept_as_long_as_the_setting_says",
        "DEAD_TTL_SECONDS": "test_a_dead_letter_is_kept_as_long_as_the_setting_says",
        "SESSION_TTL_SECONDS": "test_a_session_lives_as_long_as_the_setting_says",
        "SESSION_MAX_TURNS": "test_a_session_remembers_as_many_turns_as_the_setting_says",
        "USAGE_TTL_DAYS": "test_the_bill_is_kept_for_as_many_days_as_the_setting_says",
    },
    "tests/worker/test_faults.py": {
        "LOOP_STALL_SECONDS": "test_a_stalled_event_loop_loses_them",
        "DRAIN_SECONDS": "test_sigterm_releases_the_rest_unspent_at_its_old_place",
    },
    "tests/worker/test_attempts.py": {
        "ATTEMPT_TIMEOUT_SECONDS": "test_an_attempt_that_runs_too_long_fails_and_keeps_what_it_spent",
    },
    "tests/models/test_registry.py": {
        "ACTIVE_MODEL_KEY": "test_the_active_model",
        "SIMULATOR_HOST": "test_the_simulator_may_be_on_another_host",
        "SIMULATOR_PORT": "test_the_simulator_s_address_follows_its_port",
        "DEEPSEEK_API_KEY": "test_the_active_model",
        "DASHSCOPE_API_KEY": "test_the_active_model",
        "OPENAI_API_KEY": "test_the_active_model",
        "ANTHROPIC_API_KEY": "test_the_active_model",
    },
    "tests/operations/test_simulator_options.py": {
        "SIMULATOR_OPTIONS": "test_good_options_reach_the_simulator_and_its_port_stays_ours",
    },
    "tests/agent/test_agents_file.py": {
        "AGENTS_FILE": "test_a_relative_agents_file_is_the_project_s",
    },
    "tests/edges/test_canary.py": {
        "MODELS_FILE": "planted",
        "LANGFUSE_HOST": "planted",
    },
    "tests/agent/test_run.py": {
        "AGENT_MAX_ITERATIONS": "test_an_agent_that_never_stops_ends_with_max_iterations_and_its_usage",
        "TOOL_TIMEOUT_SECONDS": "test_hanging_tools_hold_up_no_model_call",
    },
    "tests/agent/test_memory.py": {
        "SESSION_MAX_TOKENS": "test_a_run_is_given_the_last_turns_that_fit",
    },
    "tests/agent/test_requests.py": {
        "MAX_TOKENS_PER_REQUEST": "test_max_tokens_is_the_lesser_of_setting_and_limit",
    },
    "tests/agent/test_provider_errors.py": {
        "MODEL_TIMEOUT_SECONDS": "test_a_model_call_ends_at_its_timeout_and_its_connection_is_closed",
    },
    "tests/agent/test_get_time_and_search.py": {
        "AGENT_TIMEZONE": "test_the_setting_is_the_default_and_the_model_may_name_another",
        "SEARXNG_URL": "test_searxng_answers_bounded_and_named",
        "TAVILY_API_KEY": "test_tavily_gets_its_key_and_answers",
    },
    "tests/agent/test_fetch.py": {
        "FETCH_ENABLED": "test_it_is_offered_only_when_it_is_enabled",
        "FETCH_ALLOW_HTTP": "test_the_settings_reach_the_policy",
        "FETCH_ALLOW_HOSTS": "test_the_settings_reach_the_policy",
    },
    "tests/agent/test_database.py": {
        "DATABASE_URL": "test_a_question_in_sql_goes_all_the_way",
        "DATABASE_TIMEOUT_SECONDS": "test_an_endless_query_is_stopped",
        "DATABASE_MAX_ROWS": "test_rows_are_counted_and_cut",
    },
    "tests/traces/conftest.py": {
        "LANGFUSE_PUBLIC_KEY": "start",
        "LANGFUSE_SECRET_KEY": "start",
    },
    "tests/traces/test_trees.py": {
        "LANGFUSE_SAMPLE_RATE": "test_a_share_of_the_tasks_is_traced",
        "TRACE_CONTENT": "test_without_contents_the_structure_is_all_there",
    },
    "tests/traces/exporting.py": {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "make",
    },
    "tests/traces/test_export.py": {
        "OTEL_EXPORTER_OTLP_HEADERS": "test_the_same_spans_go_wherever_they_are_wanted",
    },
    "tests/traces/test_ids.py": {
        "TRACE_URL": "test_the_address_of_a_trace",
    },
    "tests/grafana/test_import_dashboard.py": {
        "GRAFANA_URL": "test_it_reads_its_settings",
        "GRAFANA_TOKEN": "test_it_reads_its_settings",
        "GRAFANA_USER": "test_a_user_and_a_password_do_where_there_is_no_token",
        "GRAFANA_PASSWORD": "test_a_user_and_a_password_do_where_there_is_no_token",
        "PROMETHEUS_URL": "test_it_reads_its_settings",
    },
    "tests/monitoring/test_logs.py": {
        "LOG_FORMAT": "test_an_event_is_one_object",
        "LOG_CONTENT": "test_debug_lines_of_libraries_need_leave_to_hold_contents",
    },
}
"""File, then setting, then the test that shows it, or the fixture that sets it for its test."""
ROWS = [(path, name, function) for path, rows in SHOWN_BY.items() for name, function in rows.items()]


@cache
def functions(path: str) -> dict[str, str]:
    """Every test or fixture of a file with its source, decorators too."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    return {
        node.name: "\n".join(
            lines[min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1 : node.end_lineno]
        )
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_setting_has_a_row() -> None:
    """`.env.example` is made from Settings and the registry, which another test holds."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    settings = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    assert sorted(settings) == sorted(name for _, name, _ in ROWS)


@pytest.mark.parametrize(("path", "name", "function"), ROWS, ids=[name for _, name, _ in ROWS])
def test_the_test_of_a_row_is_there_and_sets_it(path: str, name: str, function: str) -> None:
    source = functions(path)[function]
    assert name in source or name.lower() in source, f"{function} does not set {name}"
