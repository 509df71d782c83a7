"""The simulated model: an OpenAI-compatible server that answers by rules, fails on demand and keeps a journal.

A black box: it imports nothing of Longhaul and is reached over HTTP only. docs/simulator.md is its reference.
"""
