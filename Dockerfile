# SPDX-License-Identifier: Apache-2.0
# The service alone on debian:12-slim, as a user without rights; values live in the volume /data.
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile ./
RUN make deps
COPY . .
RUN make install DESTDIR=/out PREFIX=/usr

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmicrohttpd12 libjansson4 libck0 libxxhash0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 7070 --no-create-home --home-dir /data --shell /usr/sbin/nologin keyrest \
 && install -d -o 7070 -g 7070 /data
COPY --from=build /out/usr/bin/keyrest /usr/bin/keyrest
USER 7070:7070
# The container's network is the boundary: KEYREST_INSECURE serves every address without tokens.
ENV KEYREST_LISTEN=0.0.0.0:7070 KEYREST_INSECURE=true KEYREST_DATA=/data
EXPOSE 7070
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["keyrest", "health", "http://127.0.0.1:7070/livez"]
ENTRYPOINT ["keyrest"]
CMD ["serve"]
