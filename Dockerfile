# One image for gateway, worker, simulator and the operator's commands: docs/containers.md.
# The base is pinned by its exact version. A digest would pin it for good, and is for who builds it to add: `docker
# buildx imagetools inspect python:3.11.15-slim-bookworm` prints it.

FROM python:3.11.15-slim-bookworm AS build
WORKDIR /build

COPY operations/installer.lock ./
RUN python -m venv /uv && /uv/bin/pip install --no-cache-dir --require-hashes --no-deps -r installer.lock

# What does not have the lock's hash ends the build; so does a package without a wheel.
COPY requirements.lock ./
RUN /uv/bin/uv venv /venv \
    && /uv/bin/uv pip sync --python /venv --require-hashes --no-build --no-cache --compile-bytecode requirements.lock

WORKDIR /app
COPY core_config.py agents_config.py schema_rules.py manage.py pyproject.toml requirements.lock LICENSE \
     deploy/healthcheck.py ./
COPY taskstore taskstore/
COPY agent agent/
COPY monitoring monitoring/
COPY gateway gateway/
COPY worker worker/
COPY longhaul_client longhaul_client/
COPY loadtest loadtest/
COPY operations operations/
RUN /venv/bin/python -m compileall -q .


FROM python:3.11.15-slim-bookworm
LABEL org.opencontainers.image.title="longhaul" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# HOME and VAR_DIR: the root is read-only, and libraries write, if at all, where these point
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    LONGHAUL_NO_VENV=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VAR_DIR=/tmp/longhaul

COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app

USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "/app/healthcheck.py", "http://127.0.0.1:8000/health"]
CMD ["python", "-m", "gateway"]
