-- The keys of a site can be replaced by others; the documents that did it are kept as a chain.

ALTER TABLE sites ADD COLUMN site_keys_version integer NOT NULL DEFAULT 1;

CREATE TABLE site_key_documents (
    site        text NOT NULL REFERENCES sites ON DELETE CASCADE,
    version     integer NOT NULL,                           -- of the keys that it brings
    document    bytea NOT NULL,                             -- wire.signed.Signed as JSON
    stored_ms   bigint NOT NULL,
    PRIMARY KEY (site, version)
);
