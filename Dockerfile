# linkspan in a container: needs --network host, --cap-add NET_ADMIN and /var/lib/linkspan on a volume.
FROM node:24-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev linux-libc-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json tsconfig.json ./
COPY scripts/build scripts/build
COPY native native
RUN npm ci
COPY agent agent
COPY test test
RUN scripts/build && npm prune --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends iproute2 nftables wireguard-tools wireguard-go && rm -rf /var/lib/apt/lists/*
WORKDIR /usr/lib/linkspan
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/native/build/linkspan.node native/build/linkspan.node
COPY --from=build /src/dist/agent dist/agent
RUN ln -s /usr/lib/linkspan/dist/agent/main.js /usr/bin/linkspan && mkdir hooks && \
  ln -s ../dist/agent/hook/aws-route-table.js hooks/aws-route-table && \
  ln -s ../dist/agent/hook/azure-routes.js hooks/azure-routes && \
  ln -s ../dist/agent/hook/gcp-routes.js hooks/gcp-routes
VOLUME ["/etc/linkspan", "/var/lib/linkspan"]
ENTRYPOINT ["linkspan"]
CMD ["agent"]
