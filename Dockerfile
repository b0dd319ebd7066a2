# One small image: the daemon and its SQL. Nothing of the local stack, and no compiler.
FROM node:24-slim AS dashboard
WORKDIR /build/dashboard
COPY dashboard/package.json dashboard/package-lock.json dashboard/.npmrc ./
RUN npm ci
COPY dashboard ./
RUN npm run build

FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements/run.txt requirements/build.txt ./
RUN python -m venv /app \
 && /app/bin/pip install --no-cache-dir --require-hashes --requirement run.txt \
 && pip install --no-cache-dir --require-hashes --requirement build.txt
COPY pyproject.toml README.md hatch_build.py ./
COPY meshmetrics ./meshmetrics
COPY sql ./sql
COPY --from=dashboard /build/meshmetrics/_dashboard ./meshmetrics/_dashboard
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /app/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim
COPY --from=build /app /app
USER 65532:65532
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 MESHMETRICS_HTTP_HOST=0.0.0.0
EXPOSE 8787
ENTRYPOINT ["meshmetrics"]
CMD ["run"]
