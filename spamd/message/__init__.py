"""What a mail says: bytes in, values out. Pure, inside hard limits, never raises on a bad mail."""
