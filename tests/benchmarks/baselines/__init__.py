"""What users do today, as plain code: what the benchmarks are timed against. Nothing here uses this package."""
