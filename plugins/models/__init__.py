"""Built-in models; every module here that does not start with an underscore registers some."""
