"""How a job outlives its leader: its history on disk and at standbys, terms, takeover, merging."""
