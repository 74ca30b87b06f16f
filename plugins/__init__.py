"""Built-in plugins of cortex-bench: models, benchmarks and metrics."""
