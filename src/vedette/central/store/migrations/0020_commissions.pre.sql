-- What came of commissioning cameras, as devices told it: wire.messages.CommissionReport.

CREATE TABLE commissions (
    device      text NOT NULL REFERENCES devices ON DELETE CASCADE,
    camera      text NOT NULL,
    at_ms       bigint NOT NULL,
    received_ms bigint NOT NULL,
    body        bytea NOT NULL,                             -- as the device sent it
    PRIMARY KEY (device, camera, at_ms)
);
