"""An index kept in order: verified, repaired, carried to another place, audited against the model that made it."""
