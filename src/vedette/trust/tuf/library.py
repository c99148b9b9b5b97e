"""The names of python-tuf that this room uses; it exports them without telling checkers."""

# pyright: reportPrivateImportUsage=false

from securesystemslib.signer import CryptoSigner, HSMSigner, Key, Signature, Signer, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

AnyMetadata = Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]

__all__ = [
    "AnyMetadata",
    "CryptoSigner",
    "DelegatedRole",
    "Delegations",
    "HSMSigner",
    "Key",
    "MetaFile",
    "Metadata",
    "Role",
    "Root",
    "SSlibKey",
    "Signature",
    "Signed",
    "Signer",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
]
