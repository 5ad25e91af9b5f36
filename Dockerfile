# A static binary in an image with nothing else. Alpine's Rust builds for musl, linked statically.
#   docker build -t herald .
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p herald && cp target/release/herald /herald
# What a scratch image lacks: trusted roots, and a directory for the state that the user owns.
RUN apk add --no-cache ca-certificates && mkdir -p /empty/var/lib/herald /empty/tmp && chown -R 65532:65532 /empty/var/lib/herald && chmod 1777 /empty/tmp

FROM scratch
COPY --from=build /empty /
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /herald /usr/local/bin/herald
USER 65532:65532
VOLUME /var/lib/herald
EXPOSE 8080 8090 3100
ENTRYPOINT ["/usr/local/bin/herald"]
CMD ["run", "--state=/var/lib/herald/state.db"]
