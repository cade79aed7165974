# syntax=docker/dockerfile:1

# Tags can be moved, digests cannot: SECURITY.md says how to give both as name@sha256:…
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
# librdkafka and OpenSSL are built from source and linked statically.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ make perl pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tailwater \
    && install -D target/release/tailwater /out/tailwater

FROM build AS build-demo
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package examples \
    && install -D target/release/workload target/release/consumer -t /out

# glibc, the certificates of public authorities, and a user of its own.
FROM ${BASE_IMAGE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 65532 --create-home tailwater
USER 65532
WORKDIR /home/tailwater

# The workload and the consumer of `docker compose --profile demo`.
FROM base AS demo
COPY --from=build-demo /out/workload /out/consumer /usr/local/bin/

FROM base
COPY --from=build /out/tailwater /usr/local/bin/tailwater
ENV HTTP_ADDR=0.0.0.0:3001
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["tailwater", "health"]
ENTRYPOINT ["tailwater"]
