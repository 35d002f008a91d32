# Killsync in a container: web server, workers, scheduler and commands are this one image with different commands.
# BASE is Debian or a Python image made from it; the last stage gets Python, PostgreSQL's client programs (for
# `killsync backup`) and what was built, and neither compiler nor Node.js.
ARG BASE=python:3.11-slim-trixie

FROM ${BASE} AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
 && apt-get install -y --no-install-recommends make g++ ca-certificates \
 && if ! command -v python3 >/dev/null; then apt-get install -y --no-install-recommends python3 python3-dev python3-venv; fi
WORKDIR /build
COPY requirements requirements
COPY scripts scripts
COPY Makefile pyproject.toml README.md LICENSE scheduler.py ./
COPY killsync/web/assets/libraries.json killsync/web/assets/libraries.json
# What changes seldom comes first: tools, the compiled parser, the libraries of the web pages, the locked packages.
RUN make build/tools/installed \
 && bash scripts/install.sh parser \
 && build/tools/bin/python scripts/assets.py --required
RUN python3 -m venv --without-pip /opt/killsync \
 && build/tools/bin/python -m pip --python /opt/killsync/bin/python install --quiet --no-deps build/wheels/tartiflette-*.whl \
 && build/tools/bin/python -m pip --python /opt/killsync/bin/python install --quiet --no-deps --require-hashes \
    -r requirements/runtime.lock
COPY actors actors
COPY graphql_api graphql_api
COPY killsync killsync
COPY migrations migrations
COPY models models
COPY simulator simulator
RUN make wheel \
 && build/tools/bin/python -m pip --python /opt/killsync/bin/python install --quiet --no-deps dist/killsync-*.whl

FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates postgresql-client \
 && if ! command -v python3 >/dev/null; then apt-get install -y --no-install-recommends python3; fi \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* \
 && useradd --uid 10001 --home-dir /srv/killsync --create-home --shell /usr/sbin/nologin killsync \
 && install -d -o killsync -g killsync /srv/killsync/data /srv/killsync/backups \
 # Where Python looks for room after /tmp and /var/tmp, for a read-only root without a /tmp of its own.
 && ln -s /dev/shm /usr/tmp
COPY --from=build /opt/killsync /opt/killsync
ENV PATH=/opt/killsync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WEB_HOST=0.0.0.0 METRICS_HOST=127.0.0.1
WORKDIR /srv/killsync
USER killsync
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-m", "killsync.probe", "http://127.0.0.1:8080/healthz"]
CMD ["python", "-m", "graphql_api"]
