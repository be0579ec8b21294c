"""The route reflector: a speaker, the TCP edge, and a little configuration."""
