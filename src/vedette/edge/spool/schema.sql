-- The spool's one file. WAL and synchronous=FULL are set by the connection.
-- A row of `message` is one envelope; it leaves only when central acknowledged it, or by eviction,
-- which writes a tombstone in the same transaction.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,   -- epoch, since_ms, evicted, clock
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Sequence numbers start at 1 per epoch and lane and are never used again.
CREATE TABLE lane (
    epoch         INTEGER NOT NULL,
    lane          TEXT    NOT NULL,
    next_seq      INTEGER NOT NULL,
    acked_through INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (epoch, lane)
) WITHOUT ROWID;

CREATE TABLE message (
    id          INTEGER PRIMARY KEY,   -- order of commit
    epoch       INTEGER NOT NULL,
    lane        TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    schema      TEXT    NOT NULL,
    priority    INTEGER NOT NULL,      -- of the stream table: 0 is sent first and evicted last
    boot_id     TEXT    NOT NULL,
    t_wall_ms   INTEGER NOT NULL,
    t_mono_ms   INTEGER NOT NULL,
    clock_state TEXT    NOT NULL,
    camera      TEXT    NOT NULL,      -- whose coverage it carries; empty where none
    start_ms    INTEGER NOT NULL,      -- the time it speaks of
    end_ms      INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,      -- body and row, for the quota
    crc         INTEGER NOT NULL,      -- of the body: the file format has no checksum of its own
    body        BLOB    NOT NULL
);
CREATE UNIQUE INDEX message_key ON message (epoch, lane, seq);
CREATE INDEX message_age ON message (boot_id, t_mono_ms);
CREATE INDEX message_rank ON message (priority, id);

CREATE TABLE volume (bytes INTEGER NOT NULL);
INSERT INTO volume VALUES (0);
CREATE TRIGGER message_came AFTER INSERT ON message BEGIN
    UPDATE volume SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER message_went AFTER DELETE ON message BEGIN
    UPDATE volume SET bytes = bytes - old.bytes;
END;

-- How far each camera's time is accounted for, moved in the transaction of the message that says so.
CREATE TABLE covered (
    camera    TEXT PRIMARY KEY,
    until_ms  INTEGER NOT NULL,
    untrusted INTEGER NOT NULL DEFAULT 0   -- the last message's clock was not to be believed
) WITHOUT ROWID;
