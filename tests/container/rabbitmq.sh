# Starts RabbitMQ with the user of the environment as its administrator.
set -euo pipefail
chown -R rabbitmq: /var/lib/rabbitmq
printf 'default_user = %s\ndefault_pass = %s\nloopback_users = none\nlog.console = true\n' \
  "$RABBITMQ_DEFAULT_USER" "$RABBITMQ_DEFAULT_PASS" >/etc/rabbitmq/rabbitmq.conf
exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups env HOME=/var/lib/rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server
