"""The page about the business: what people did, by day, zone and site, and how sure that is."""
