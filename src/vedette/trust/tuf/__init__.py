"""The Update Framework: what may be installed, as its signers said it, and nothing else.

    client      the device's side: what the repository has, verified, kept on disk
    fetching    how its bytes come: any connection, with limits on size and time
    refusals    the library's errors as those of `vedette.errors`
    approvals   the one target that says where artefacts may run

The rule: what runs already, and the version before it, need nothing of this. Metadata that is old,
missing or forged stops new installations only.
"""
