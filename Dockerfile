# The endpoint for programs, on a CPU. Build: docker build -t speech2vid . ; options of `speech2vid serve` may be appended
# to `docker run --rm -p 127.0.0.1:7861:7861 -e SPEECH2VID_TOKEN=… speech2vid`.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/speech2vid \
    && /opt/speech2vid/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.12-slim
RUN useradd --system --create-home speech2vid
COPY --from=build /opt/speech2vid /opt/speech2vid
USER speech2vid
EXPOSE 7861
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["/opt/speech2vid/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7861/health', timeout=4)"]
ENTRYPOINT ["/opt/speech2vid/bin/speech2vid", "serve", "--host", "0.0.0.0"]
