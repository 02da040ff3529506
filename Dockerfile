# Baton's image: batond, baton and baton-inspect, nothing else. The same package list as ./run deps (cmake/packages.txt).

FROM debian:bookworm-slim AS packages
COPY cmake/packages.txt /packages.txt
# One file a section: names without comments, one per line.
RUN for section in build runtime; do \
      sed -n "/^\[$section\]/,/^\[/p" /packages.txt \
        | sed -e 's/#.*//' -e '/^\[/d' -e '/^[[:space:]]*$/d' >"/$section.txt"; \
    done

FROM debian:bookworm-slim AS build
COPY --from=packages /build.txt /build.txt
RUN apt-get update \
 && xargs -a /build.txt apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cmake --preset release -DBATON_BUILD_TESTS=OFF -DBATON_BUILD_BENCH=OFF \
 && cmake --build --preset release --target batond baton baton-inspect \
 && DESTDIR=/out cmake --install build/release --prefix /usr/local --component programs --strip

FROM debian:bookworm-slim
COPY --from=packages /runtime.txt /runtime.txt
RUN apt-get update \
 && xargs -a /runtime.txt apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/* /runtime.txt \
 && groupadd --system --gid 10001 baton \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin baton \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/baton
COPY --from=build /out/usr/local/bin/batond /out/usr/local/bin/baton /out/usr/local/bin/baton-inspect /usr/local/bin/
USER 10001:10001
VOLUME ["/var/lib/baton"]
EXPOSE 22866
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/baton", "--connect-timeout", "2s", "ping"]
ENTRYPOINT ["/usr/local/bin/batond"]
CMD ["--listen", "tcp://0.0.0.0:22866", "--data-dir", "/var/lib/baton"]
