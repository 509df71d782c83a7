#!/bin/sh
# Writes into .env what the containers need and nobody should have to make up: passwords, an API key, and what a plain
# `docker compose up` starts. What .env has already stays as it is, so it can be run again.
#
#     sh deploy/new_env.sh [langfuse] [FILE]      FILE: .env beside docker-compose.yml unless given
set -eu
umask 077

langfuse=no
if [ "${1:-}" = langfuse ]; then
    langfuse=yes
    shift
fi
file=${1:-$(dirname "$0")/../.env}
touch "$file"
chmod 600 "$file"
if [ -n "$(tail -c 1 "$file")" ]; then  # its last line has no end yet
    echo >> "$file"
fi

has() { grep -Eq "^($1)=." "$file"; }
put() { has "$1" || printf '%s=%s\n' "$1" "$2" >> "$file"; }
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }  # twice as many hex digits: they need no quoting in a URL
sha256() { if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

profiles=app
if ! has 'ACTIVE_MODEL_KEY|DEEPSEEK_API_KEY|DASHSCOPE_API_KEY|OPENAI_API_KEY|ANTHROPIC_API_KEY'; then
    put ACTIVE_MODEL_KEY Simulator
    profiles=app,simulator
    echo "No model's key is in $file, so the simulated model will answer."
fi
put COMPOSE_PROFILES "$profiles"
put REDIS_PASSWORD "$(random 24)"
put GRAFANA_PASSWORD "$(random 12)"

if ! has 'API_KEYS|API_KEYS_FILE'; then
    key=ak_$(random 4)_$(random 24)
    put API_KEYS "admin:$(printf %s "$key" | sha256):admin"
    printf 'Your API key, shown this once; %s has only its hash:\n\n    %s\n\n' "$file" "$key"
fi

if [ "$langfuse" = yes ]; then
    put LANGFUSE_HOST http://langfuse-web:3000
    put LANGFUSE_PUBLIC_KEY "pk-lf-$(random 16)"
    put LANGFUSE_SECRET_KEY "sk-lf-$(random 16)"
    put LANGFUSE_STORES_PASSWORD "$(random 24)"
    put LANGFUSE_SALT "$(random 16)"
    put LANGFUSE_ENCRYPTION_KEY "$(random 32)"
    put LANGFUSE_NEXTAUTH_SECRET "$(random 32)"
    put LANGFUSE_USER_EMAIL admin@longhaul.local
    put LANGFUSE_USER_PASSWORD "$(random 12)"
    echo "Langfuse's page is for $(grep '^LANGFUSE_USER_EMAIL=' "$file" | cut -d = -f 2), with LANGFUSE_USER_PASSWORD of $file."
fi
