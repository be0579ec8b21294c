"""The command line: what a running speaker says over HTTP, for people and for programs."""
