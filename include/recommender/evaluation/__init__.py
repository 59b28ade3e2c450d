"""Measure models on one population: metrics, intervals, break-downs. The contract is in `metrics`."""
