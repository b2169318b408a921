//go:build tools

// Package cluster pins the programs of which the tests' Kubernetes API server consists: `make test-cluster` builds them.
package cluster

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
