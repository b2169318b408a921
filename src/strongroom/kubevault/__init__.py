"""kubevault: a directory of secrets and ACLs into Kubernetes manifests."""
