# The whole stack in one container, at the loopback of the host: nobody else may reach it.
#   docker build --tag nilometer . && docker run --network host --volume state:/state nilometer
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md template.yaml ./
COPY requirements/local.txt requirements/
COPY events/schemas events/schemas
COPY src src
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/local.txt \
 && /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
COPY --from=build /venv /venv
RUN useradd --create-home --uid 1000 nilometer && install -d -o nilometer /state /run/nilometer
USER nilometer
ENV PATH=/venv/bin:$PATH NILOMETER_RUNTIME_DIR=/run/nilometer
VOLUME /state
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --start-period=30s CMD ["nilometer", "status", "--json"]
ENTRYPOINT ["nilometer"]
CMD ["local", "--data", "/state"]
