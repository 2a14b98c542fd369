# The product itself: gateway and worker are two commands of the one image.
#   docker build -t switchyard .
ARG BASE=node:24-bookworm-slim
FROM $BASE

WORKDIR /app
ENV NODE_ENV=production SWITCHYARD_DATA_DIR=/var/lib/switchyard SWITCHYARD_HOST=0.0.0.0

# The packages are a layer of their own, so that a change of the code does not install them again. A base that brings
# them, as an offline build does, is taken as it is.
COPY package.json package-lock.json .npmrc ./
COPY deploy/is-installed.mjs deploy/is-installed.mjs
RUN node deploy/is-installed.mjs . --production \
 || npm install --no-save --omit=dev --no-audit --no-fund --loglevel=error

# .dockerignore lists what this is.
COPY . .

# A fixed number, because the folder shared with the sandboxes belongs to it on the host as well.
RUN groupadd --gid 10003 switchyard \
 && useradd --uid 10003 --gid 10003 --home-dir /var/lib/switchyard --no-create-home --shell /usr/sbin/nologin switchyard \
 && install -d -o 10003 -g 10003 /var/lib/switchyard \
 && printf '#!/bin/sh\nexec node /app/app/switchyard.main.ts "$@"\n' > /usr/local/bin/switchyard \
 && chmod 755 /usr/local/bin/switchyard
USER 10003:10003
EXPOSE 8420

ENTRYPOINT ["node", "/app/app/switchyard.main.ts"]
CMD ["gateway"]
