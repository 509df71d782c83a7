"""Longhaul for people's own tests."""
