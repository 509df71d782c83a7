"""Benchmarks: Longhaul beside its peers, on the same work, in the same run. `manage.py bench`; docs/performance.md.

A black box, as all of loadtest: Longhaul is started by its own `manage.py`, a peer by a small program that runs in an
environment of its own. `study.py` has the words, `harness.py` the order of measuring, `catalogue.py` the rows.
"""
