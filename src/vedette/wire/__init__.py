"""What crosses the network: message structs, the one table of streams, limits and encodings.

Nothing here opens a socket, reads a clock or knows a database. A message that was ever released
must parse forever: fields are only added, each with a default (`tests/golden`).
"""
