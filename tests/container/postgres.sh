# Starts PostgreSQL with the user, password and database of the environment, made at the first start.
set -euo pipefail
data=/var/lib/postgresql/data/files
bin=$(echo /usr/lib/postgresql/*/bin)
as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
chown postgres: /var/lib/postgresql/data && install -d -o postgres -g postgres /var/run/postgresql
if [ ! -e "$data/PG_VERSION" ]; then
  as_postgres "$bin/initdb" -D "$data" --username=postgres --auth-local=trust --auth-host=scram-sha-256 >/dev/null
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
  {
    echo "CREATE ROLE \"$POSTGRES_USER\" LOGIN SUPERUSER PASSWORD '$POSTGRES_PASSWORD';"
    echo "CREATE DATABASE \"$POSTGRES_DB\" OWNER \"$POSTGRES_USER\";"
  } | while read -r statement; do echo "$statement" | as_postgres "$bin/postgres" --single -D "$data" postgres >/dev/null; done
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" -D "$data" -c listen_addresses='*'
