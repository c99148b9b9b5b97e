-- Clips that operators asked for: what was asked, how far it is, and which files are here. The files
-- themselves lie beside the database, named by their SHA-256.

ALTER TABLE requests ADD COLUMN evidence text NOT NULL DEFAULT '';   -- the package, of kind evidence

CREATE TABLE clips (
    device      text NOT NULL REFERENCES devices ON DELETE CASCADE,
    evidence    text NOT NULL,
    event       text NOT NULL,
    site        text NOT NULL,
    camera      text NOT NULL,
    request     text NOT NULL UNIQUE,
    asked_by    text NOT NULL,
    asked_ms    bigint NOT NULL,
    expires_ms  bigint NOT NULL,
    state       text NOT NULL CHECK (state IN ('asked', 'sending', 'here', 'refused', 'failed')),
    form        text NOT NULL DEFAULT '',            -- clip or blurred
    said        text NOT NULL DEFAULT '',            -- why not, in the device's or central's words
    settled_ms  bigint,
    PRIMARY KEY (device, evidence)
);
CREATE INDEX clips_open ON clips (device) WHERE state IN ('asked', 'sending');

CREATE TABLE clip_files (
    device    text NOT NULL,
    evidence  text NOT NULL,
    name      text NOT NULL,
    sha256    text NOT NULL,
    bytes     bigint NOT NULL,
    whole     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (device, evidence, name),
    FOREIGN KEY (device, evidence) REFERENCES clips ON DELETE CASCADE
);
CREATE INDEX clip_files_sha256 ON clip_files (sha256);

-- Who looked at which file when last: a player asks for many parts, and that is one look.
CREATE TABLE clip_looks (
    actor     text NOT NULL,
    device    text NOT NULL,
    evidence  text NOT NULL,
    name      text NOT NULL,
    at_ms     bigint NOT NULL,
    PRIMARY KEY (actor, device, evidence, name)
);
