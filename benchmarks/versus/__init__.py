"""The same work on meshwit and on others, on four emulated machines of unlike speeds."""
