"""Signing in by an OpenID provider: authorization code with PKCE. Off unless configured.

`claims` decides (pure), `provider` speaks to the provider, `flow` is the two steps of a sign-in.
"""
