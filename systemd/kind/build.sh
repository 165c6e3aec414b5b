#!/bin/sh
# Builds the node image and starts a cluster of it.
#
#   build.sh [KIND_NODE_IMAGE]        by default kindest/node:v1.34.0
set -eu
cd "$(dirname "$0")"
docker build --build-arg BASE="${1:-kindest/node:v1.34.0}" --tag crishim-node .
kind create cluster --name crishim --image crishim-node --config cluster.yaml
for node in $(kind get nodes --name crishim); do
    docker exec "$node" crishim doctor || true
done
