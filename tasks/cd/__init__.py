"""What CD touches: the cluster and the ledger."""
