-- What may be installed, as its signers said it: metadata of the TUF repository that central hosts.
-- The files themselves lie beside the database, named by their content.

CREATE TABLE release_metadata (
    role        text   NOT NULL,
    version     bigint NOT NULL,
    body        bytea  NOT NULL,                            -- exactly the signed bytes
    expires_ms  bigint NOT NULL,
    received_ms bigint NOT NULL,
    received_by text   NOT NULL,
    PRIMARY KEY (role, version)
);

CREATE TABLE release_files (
    path   text   PRIMARY KEY,
    sha256 text   NOT NULL,
    bytes  bigint NOT NULL
);
