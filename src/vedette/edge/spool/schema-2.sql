-- From version 1 to 2: what central acknowledged is kept a while, and what is old is packed.

-- Messages that central acknowledged or refused, in case it is restored from an older backup. The
-- columns are those of `message`. They go before anything that waits has to.
CREATE TABLE kept (
    id          INTEGER PRIMARY KEY,   -- order of acknowledgement
    kept_ms     INTEGER NOT NULL,      -- wall clock at the acknowledgement
    epoch       INTEGER NOT NULL,
    lane        TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    schema      TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    boot_id     TEXT    NOT NULL,
    t_wall_ms   INTEGER NOT NULL,
    t_mono_ms   INTEGER NOT NULL,
    clock_state TEXT    NOT NULL,
    camera      TEXT    NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    crc         INTEGER NOT NULL,
    body        BLOB    NOT NULL
);
CREATE UNIQUE INDEX kept_key ON kept (epoch, lane, seq);

-- Old messages of one epoch, lane and schema, compressed together: alike as they are, a tenth of
-- their bytes. Taken apart before anything happens to a part of them.
CREATE TABLE pack (
    id       INTEGER PRIMARY KEY,
    kept     INTEGER NOT NULL,         -- 1: acknowledged; 0: waits to be sent
    epoch    INTEGER NOT NULL,
    lane     TEXT    NOT NULL,
    schema   TEXT    NOT NULL,
    priority INTEGER NOT NULL,
    low      INTEGER NOT NULL,         -- smallest and largest number; others between may lie elsewhere
    high     INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    oldest_ms INTEGER NOT NULL,        -- device time of the first message
    kept_ms  INTEGER NOT NULL,         -- newest acknowledgement; 0 where it waits
    bytes    INTEGER NOT NULL,
    crc      INTEGER NOT NULL,         -- of the body
    body     BLOB    NOT NULL
);
CREATE INDEX pack_key ON pack (kept, epoch, lane, low);

-- Which numbers are kept no longer and what time they spoke of, coarsely: what a tombstone says
-- where central, restored, asks for them. `start_ms` is null where they carried no coverage.
CREATE TABLE forgotten (
    id       INTEGER PRIMARY KEY,
    epoch    INTEGER NOT NULL,
    lane     TEXT    NOT NULL,
    low      INTEGER NOT NULL,
    high     INTEGER NOT NULL,
    start_ms INTEGER,
    end_ms   INTEGER,
    cameras  TEXT    NOT NULL,         -- JSON
    at_ms    INTEGER NOT NULL
);

ALTER TABLE volume ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER kept_came AFTER INSERT ON kept BEGIN
    UPDATE volume SET kept = kept + new.bytes;
END;
CREATE TRIGGER kept_went AFTER DELETE ON kept BEGIN
    UPDATE volume SET kept = kept - old.bytes;
END;
CREATE TRIGGER pack_came AFTER INSERT ON pack BEGIN
    UPDATE volume SET bytes = bytes + new.bytes * (NOT new.kept), kept = kept + new.bytes * new.kept;
END;
CREATE TRIGGER pack_went AFTER DELETE ON pack BEGIN
    UPDATE volume SET bytes = bytes - old.bytes * (NOT old.kept), kept = kept - old.bytes * old.kept;
END;
CREATE TRIGGER pack_turned AFTER UPDATE OF kept ON pack BEGIN
    UPDATE volume SET bytes = bytes + new.bytes * (old.kept - new.kept),
                      kept = kept + new.bytes * (new.kept - old.kept);
END;
