# Debian's PostgreSQL and RabbitMQ in the places of postgres:17 and rabbitmq:4, for machines that can pull no image: they take
# those variables of these images that compose.yaml sets.
ARG BASE
FROM ${BASE} AS postgres
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends postgresql && apt-get clean && rm -rf /var/lib/postgresql/*/main
COPY postgres.sh /start.sh
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["bash", "/start.sh"]

FROM ${BASE} AS rabbitmq
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends rabbitmq-server && apt-get clean
COPY rabbitmq.sh /start.sh
VOLUME /var/lib/rabbitmq
CMD ["bash", "/start.sh"]
