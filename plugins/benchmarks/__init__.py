"""Built-in benchmarks. Modules whose names start with an underscore hold the heavy code behind them."""
