-- What each camera was to look for, version by version: who changed it, when, and to what.

CREATE TABLE camera_settings (
    device    text NOT NULL REFERENCES devices ON DELETE CASCADE,
    camera    text NOT NULL,
    version   bigint NOT NULL,                      -- of the device's settings that brought it
    at_ms     bigint NOT NULL,
    actor     text NOT NULL,                        -- '': from before this was kept
    note      text NOT NULL DEFAULT '',             -- such as which version was brought back
    settings  bytea NOT NULL,                       -- wire.signed.CameraSettings as JSON
    PRIMARY KEY (device, camera, version)
);
