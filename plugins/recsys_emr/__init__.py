"""Run a stage on a transient EMR cluster: submit, wait, explain, terminate."""
