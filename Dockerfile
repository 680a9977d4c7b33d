# Tocsin under supervisord under tini. Installs only packages whose hashes are in the lock files.
# Has no `RUN --mount=type=cache` and no VOLUME, because Railway's builder refuses both.

FROM python:3.13.15-slim-trixie AS build
WORKDIR /srv/build
ENV PIP_NO_CACHE_DIR=1
COPY requirements.lock requirements-build.lock ./
# The wheel is built in its own environment, which only this stage has.
RUN python -m venv /srv/tocsin/venv \
 && /srv/tocsin/venv/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements.lock \
 && python -m venv /srv/build/venv \
 && /srv/build/venv/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements-build.lock \
 && /srv/build/venv/bin/pip check
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
RUN /srv/build/venv/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /srv/build/dist . \
 && /srv/tocsin/venv/bin/pip install --no-deps --no-index /srv/build/dist/*.whl \
 && /srv/tocsin/venv/bin/pip check \
 && /srv/tocsin/venv/bin/pip uninstall --yes pip \
 && mkdir -p /srv/tocsin/var/log

FROM python:3.13.15-slim-trixie
LABEL org.opencontainers.image.title="Tocsin" \
      org.opencontainers.image.description="A cron daemon for HTTP endpoints" \
      org.opencontainers.image.licenses="MIT"
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 tocsin \
 && useradd --uid 10001 --gid tocsin --home-dir /srv/tocsin --no-create-home --shell /usr/sbin/nologin tocsin
WORKDIR /srv/tocsin
COPY --from=build /srv/tocsin/venv /srv/tocsin/venv
# Mount a volume here, for the lock, the ledger and supervisord's socket. Nothing else is written, so the root may be
# read-only.
COPY --from=build --chown=10001:10001 /srv/tocsin/var /srv/tocsin/var
COPY supervisord.conf foreground.conf tocsin.toml ./
# Nobody can reach a container's loopback. The container's network decides who can connect.
ENV PATH=/srv/tocsin/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TOCSIN_LISTEN=0.0.0.0:9911
USER 10001:10001
EXPOSE 9911
# Tocsin drains on TERM, which tini passes to supervisord and supervisord to Tocsin: give `docker stop` a minute.
STOPSIGNAL SIGTERM
# Uses the address in TOCSIN_LISTEN, with ${NAME} and ${NAME:-default} filled in from the environment (not from .env).
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import http.client, os, re, sys; listen = re.sub('[$]{([A-Za-z0-9_]+)(?::-([^}]*))?}', lambda one: os.environ.get(one[1]) or one[2] or '', os.environ['TOCSIN_LISTEN']); c = http.client.HTTPConnection('127.0.0.1', int(listen.rpartition(':')[2]), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--"]
CMD ["supervisord", "-c", "/srv/tocsin/foreground.conf"]
