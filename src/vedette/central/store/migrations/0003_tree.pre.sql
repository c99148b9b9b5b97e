-- Sites in folders, with labels, groups and opening hours; scopes by folder; what cameras are.

ALTER TABLE sites ADD COLUMN folder text NOT NULL DEFAULT '';   -- europe/portugal/lisbon; '': the top
ALTER TABLE sites ADD COLUMN hours bytea;                       -- central.hours.Hours as JSON; NULL: always open
CREATE INDEX sites_folder ON sites (folder text_pattern_ops);

-- What a user sees besides `sites`: every site in these folders, now and later. Where `sites` is
-- NULL the user sees everything, whatever stands here.
ALTER TABLE users ADD COLUMN folders text[] NOT NULL DEFAULT '{}';

CREATE TABLE labels (
    site    text NOT NULL REFERENCES sites ON DELETE CASCADE,
    device  text NOT NULL DEFAULT '',               -- '': the site's own
    camera  text NOT NULL DEFAULT '',               -- '': the device's own
    key     text NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (site, device, camera, key)
);

CREATE TABLE selections (                           -- groups: named, saved selections
    name        text PRIMARY KEY,
    expression  text NOT NULL,
    note        text NOT NULL DEFAULT '',
    changed_ms  bigint NOT NULL,
    changed_by  text NOT NULL
);

-- What a camera said that it is, from `since_ms` on; a row only where something changed.
CREATE TABLE camera_inventory (
    device         text NOT NULL REFERENCES devices ON DELETE CASCADE,
    camera         text NOT NULL,
    since_ms       bigint NOT NULL,
    make           text NOT NULL,
    model          text NOT NULL,
    firmware       text NOT NULL,
    serial         text NOT NULL,
    codec          text NOT NULL,
    width_px       integer,
    height_px      integer,
    announced_fps  double precision,
    source_kind    text NOT NULL,
    rate_fps       double precision,                -- the last one seen; changes make no row
    seen_ms        bigint NOT NULL,
    PRIMARY KEY (device, camera, since_ms)
);

-- Which health report of a device was looked at last for its cameras.
CREATE TABLE inventory_looks (
    device        text PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    looked_ms     bigint NOT NULL,
    health_at_ms  bigint NOT NULL
);

-- Connections that were made again, by camera and day (UTC); written only where there were some.
CREATE TABLE camera_reconnects (
    device   text NOT NULL,
    camera   text NOT NULL,
    day_ms   bigint NOT NULL,
    count    bigint NOT NULL,
    PRIMARY KEY (device, camera, day_ms)
);
