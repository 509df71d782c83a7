"""Users that load a running system, and what is said of it: parts of loadtest/locustfile.py. docs/load.md tells all."""
