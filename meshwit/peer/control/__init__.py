"""The API by which the command line talks to the peer of this device."""
