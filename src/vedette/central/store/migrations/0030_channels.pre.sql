-- Channels: what else a delivery says of itself, each try, and how a channel is.

ALTER TABLE deliveries
    ADD COLUMN media    text NOT NULL DEFAULT '',       -- '': a Notice; else what the body is
    ADD COLUMN priority smallint NOT NULL DEFAULT 0,    -- smaller goes first
    ADD COLUMN until_ms bigint NOT NULL DEFAULT 0,      -- not tried after; then it is dead
    ADD COLUMN lease    text NOT NULL DEFAULT '',       -- whose, while it is being sent
    ADD COLUMN subject  text NOT NULL DEFAULT '';       -- in a line, for lists

CREATE INDEX deliveries_of_channel ON deliveries (channel, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX deliveries_by_channel ON deliveries (channel, made_ms DESC);

CREATE TABLE delivery_tries (
    delivery    text NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    number      integer NOT NULL,
    at_ms       bigint NOT NULL,
    took_ms     bigint NOT NULL,
    outcome     text NOT NULL,                          -- sent again refused gone
    said        text NOT NULL,
    PRIMARY KEY (delivery, number)
);

ALTER TABLE alert_channels
    ADD COLUMN failures   integer NOT NULL DEFAULT 0,   -- one after another
    ADD COLUMN rests_ms   bigint NOT NULL DEFAULT 0,    -- not tried before
    ADD COLUMN sent_ms    bigint,                       -- when something last arrived
    ADD COLUMN said       text NOT NULL DEFAULT '';     -- what the last try came to
