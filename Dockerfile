# One image for the server and the migration: `docker run IMAGE` serves, `docker run IMAGE migrate` migrates.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/fanfold
ENV PATH=/opt/fanfold/bin:$PATH
WORKDIR /build
COPY requirements.lock .
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY examples examples
COPY src src
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip install --no-index --no-deps /wheels/*.whl

FROM python:3.13-slim
RUN groupadd --gid 1000 fanfold \
    && useradd --uid 1000 --gid 1000 --home-dir /data --shell /usr/sbin/nologin fanfold \
    && install --directory --mode 0700 --owner 1000 --group 1000 /data
COPY --from=build /opt/fanfold /opt/fanfold
# PORT is left at its default, 8000, so that a platform's own PORT counts.
ENV PATH=/opt/fanfold/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FANFOLD_HOST=0.0.0.0 \
    FANFOLD_DATA_DIR=/data
USER 1000
WORKDIR /data
# The embedded Postgres lives here where no FANFOLD_DATABASE_URL is given; in production, give one.
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + (os.environ.get('FANFOLD_PORT') or os.environ.get('PORT') or '8000') + '/readyz', timeout=2)"]
ENTRYPOINT ["fanfold"]
CMD ["serve"]
