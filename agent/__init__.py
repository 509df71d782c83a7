"""Runs LLM agents: LangChain's `create_agent` on a model of the registry, called through LiteLLM.

A library: no Redis, no HTTP server. Importing it loads no LLM library; `agent.runner` does. Who uses it needs
`agent.runner.AgentRunner`, `agent.work.AgentWork`, `agent.meter.Meter` and `agent.errors.AgentError`.
"""
