#!/bin/sh
# Puts crishim on a node's file system: of a kind image while it is built, or of a node that runs. The kubelet is pointed at it by
# kubeadm (nodeRegistration.criSocket), as cluster.yaml does.
#
#   install-node.sh DEB
set -eu
dpkg -i "$1"
# crictl on the node asks what the kubelet asks.
cat > /etc/crictl.yaml <<C
runtime-endpoint: unix:///run/crishim/crishim.sock
image-endpoint: unix:///run/crishim/crishim.sock
C
