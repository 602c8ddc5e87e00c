# The CPU image:   docker build -t catchup-bench .
# The CUDA image:  docker build -t catchup-bench:cuda --build-arg BASE=pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime .
# BASE is any image with Python 3.11 or later; a torch that it has already is used.
ARG BASE=python:3.12-slim
FROM ${BASE}

ARG EXTRAS=html
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CATCHUP_BENCH_DATA=/data

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY catchup_bench catchup_bench
COPY methods methods
# hadolint ignore=DL3013  # it is the package of this folder, not one of an index
RUN python3 -m venv --system-site-packages /opt/venv \
    && pip install --no-cache-dir ".[${EXTRAS}]" \
    && useradd --create-home --uid 10001 bench \
    && mkdir /data /work \
    && chown bench:bench /data /work

USER 10001
WORKDIR /work
ENTRYPOINT ["catchup-bench"]
CMD ["--help"]
