#!/usr/bin/env bash
# Makes sure that PostgreSQL and RabbitMQ answer on this machine: uses those that run, else starts them, by Debian's
# packages when this is root, else by Docker. The tests make databases and virtual hosts of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

wait_for() {
  for _ in $(seq 60); do
    if answers "$1"; then return 0; fi
    sleep 1
  done
  echo "$2 did not start within a minute" >&2
  return 1
}

start_debian() {
  export DEBIAN_FRONTEND=noninteractive
  case "$1" in
  postgresql)
    command -v pg_ctlcluster >/dev/null || { apt-get update -qq && apt-get install -y -qq postgresql; }
    pg_lsclusters -h | while read -r version name _; do pg_ctlcluster --skip-systemctl-redirect "$version" "$name" start || true; done
    wait_for 5432 PostgreSQL
    su postgres -c "psql -qc \"DO \\\$\\\$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname='killsync') THEN CREATE ROLE killsync LOGIN SUPERUSER PASSWORD 'killsync'; END IF; END \\\$\\\$\"" || true
    ;;
  rabbitmq)
    command -v rabbitmq-server >/dev/null || { apt-get update -qq && apt-get install -y -qq rabbitmq-server; }
    rabbitmq-server -detached
    wait_for 5672 RabbitMQ
    ;;
  esac
}

ensure() {
  local port="$1" name="$2" service="$3"
  if answers "$port"; then return 0; fi
  echo "$name does not answer on port $port: starting it"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    start_debian "$name"
  elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    # As the tests find them anywhere else: killsync/killsync, guest/guest.
    POSTGRES_PASSWORD=killsync RABBITMQ_USER=guest RABBITMQ_PASSWORD=guest docker compose up -d "$service"
    wait_for "$port" "$name"
  else
    echo "Start $name on port $port (or install Docker, or run this as root on Debian), then run make test again" >&2
    exit 1
  fi
}

ensure 5432 postgresql postgres
ensure 5672 rabbitmq rabbitmq
