# The race in the browser, in a container:
#   docker build -t kmeans-lab . && docker run --rm -p 127.0.0.1:8000:8000 kmeans-lab
# then open http://localhost:8000/. Two stages: the compiler stays in the first.

FROM python:3.13.5-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Not pinned: Debian keeps one g++ 12 in bookworm, and removes the one before with each fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY cpp cpp
COPY kmeans_lab kmeans_lab
RUN python -m venv /opt/lab \
    && /opt/lab/bin/pip install --no-cache-dir '.[web]'

FROM python:3.13.5-slim-bookworm
RUN useradd --system --create-home --uid 10001 lab
COPY --from=build /opt/lab /opt/lab
COPY docs/studies.md /srv/docs/studies.md
COPY docs/studies /srv/docs/studies
# Numba keeps here what it has compiled; the home is the only place where the user may write.
ENV NUMBA_CACHE_DIR=/home/lab/.cache/numba \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/lab
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/opt/lab/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4).read()"]
# Inside, it listens to everybody; who that is, `-p 127.0.0.1:…` above decides. Pages may be opened as
# localhost, by any port that it is mapped to.
ENTRYPOINT ["/opt/lab/bin/kmeans-lab", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--allow-host", "localhost", "--allow-host", "127.0.0.1", "--studies", "/srv/docs/studies"]
