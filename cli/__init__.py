"""The callflows command line: the one place where all parts are put together."""
