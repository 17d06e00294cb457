# The current lane on Debian 13, whose glibc (2.41) its wheels need. One image for every task and for Dataflow workers,
# and one for the server alone.
FROM python:3.13-slim-trixie AS build

# pyfarmhash comes as source only.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/movie-ranking
WORKDIR /build
# The current lane without the tools of development.
COPY requirements/image.txt requirements/image.txt
RUN /opt/movie-ranking/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/image.txt
COPY setup.py README.md movie_ranking_main.py ./
COPY data data
COPY modules modules
COPY components components
COPY pipeline pipeline
RUN /opt/movie-ranking/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .
# A container starts seconds sooner if Python need not compile what it imports, and its user may not write here.
RUN /opt/movie-ranking/bin/python -m compileall -q /opt/movie-ranking/lib

# `docker build --target serve`: the server of pushed models, with TensorFlow and without TFX.
FROM python:3.13-slim-trixie AS build-serve
RUN python -m venv /opt/movie-ranking-serve
WORKDIR /build
COPY requirements/serve.txt requirements/serve.txt
RUN /opt/movie-ranking-serve/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/serve.txt
COPY setup.py README.md movie_ranking_main.py ./
COPY data data
COPY modules modules
COPY components components
COPY pipeline pipeline
RUN /opt/movie-ranking-serve/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .
RUN /opt/movie-ranking-serve/bin/python -m compileall -q /opt/movie-ranking-serve/lib

FROM python:3.13-slim-trixie AS serve
COPY --from=build-serve /opt/movie-ranking-serve /opt/movie-ranking-serve
ENV PATH=/opt/movie-ranking-serve/bin:$PATH TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 server
USER server
WORKDIR /home/server
EXPOSE 8500 8501
# The output folder of the pipeline is mounted here.
ENTRYPOINT ["movie-ranking", "serve", "--host", "0.0.0.0", "--output", "/output"]

# Beam's boot program, by which Dataflow, Flink and Spark start workers in containers, of the version of the lock.
FROM golang:1.26-trixie AS build-boot
COPY requirements/image.txt image.txt
RUN GOBIN=/out go install \
    github.com/apache/beam/sdks/v2/python/container@v$(sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' image.txt)

FROM python:3.13-slim-trixie
COPY --from=build /opt/movie-ranking /opt/movie-ranking
COPY --from=build-boot /out/container /opt/apache/beam/boot
ENV PATH=/opt/movie-ranking/bin:$PATH TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 PYTHONUNBUFFERED=1
# Boot would make an environment of its own, without this project.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
RUN useradd --create-home --uid 1000 tasks
USER tasks
WORKDIR /home/tasks
# Kubeflow and Vertex name their own command; Beam's runners give flags of boot; by hand it is the command line.
ENTRYPOINT ["/bin/sh", "-c", "case \"${1-}\" in --id=*|--*_endpoint=*|--worker_pool*) exec /opt/apache/beam/boot \"$@\";; *) exec movie-ranking \"$@\";; esac", "movie-ranking"]
