"""The repository of what devices may install, as central hosts it.

    keeping    what is published: taken as a whole or refused, in the database and beside it
    serving    devices ask for metadata and files

Central hosts and cannot make: what may be in the repository is decided by `trust.tuf.hosting`, and
central's two keys say only which versions belong together, and that this is still so.
"""
