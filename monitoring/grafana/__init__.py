"""The dashboards as code. What ships is the JSON that `python -m monitoring.grafana.build` writes to `dashboards/`.

Nothing that serves imports this: its library, grafana-foundation-sdk, is for development.
"""
