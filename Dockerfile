# The gateway in a container. Use it with compose.yaml, or:
#   docker build --tag qwen-gateway .
#   docker run --env-file .env --publish 127.0.0.1:8000:8000 --volume qwen-gateway:/data qwen-gateway

FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements/install.txt requirements/
RUN python -m venv /venv \
    && /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes \
       --only-binary :all: --requirement requirements/install.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.13-slim
# The site is reached over TLS only. The base image has these; if it ever has not, fail here and not at run time.
RUN test -s /etc/ssl/certs/ca-certificates.crt
# A fixed number, so that a volume keeps its owner from image to image. A new volume takes the owner of /data.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /venv /venv

# In a container, loopback could not be reached from outside. The gateway refuses to start on all addresses without keys:
# set QWEN_GATEWAY_API_KEYS (or QWEN_GATEWAY_PASS_THROUGH), or make a key on the volume first.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    QWEN_GATEWAY_HOST=0.0.0.0 \
    QWEN_GATEWAY_PORT=8000 \
    QWEN_GATEWAY_DATA_DIR=/data
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['QWEN_GATEWAY_PORT']}/livez\", timeout=4)"]
CMD ["qwen-gateway", "serve"]
